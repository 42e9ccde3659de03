//! The API server's audit log, read as it grows.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

/// One request, at the stage that ended it (or, for a watch, began it).
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub stage: String,
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    pub verb: String,
    pub user: AuditUser,
    #[serde(default)]
    pub object_ref: ObjectRef,
    #[serde(default)]
    pub response_status: ResponseStatus,
    pub request_received_timestamp: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct AuditUser {
    pub username: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub api_group: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct ResponseStatus {
    pub code: u16,
}

impl Entry {
    /// `patch deployments/scale demo/shop`
    pub fn line(&self) -> String {
        let ObjectRef { resource, subresource, namespace, name, api_group: _ } = &self.object_ref;
        let slash = if subresource.is_empty() { "" } else { "/" };
        format!("{} {resource}{slash}{subresource} {namespace}/{name}", self.verb)
    }

    /// The next page of a list that was begun before.
    pub fn is_next_page(&self) -> bool {
        self.verb == "list" && self.request_uri.contains("continue=")
    }

    /// What a settled operator may still do: watches, which end and begin again, and its own lease.
    pub fn is_quiet(&self) -> bool {
        self.verb == "watch"
            || self.object_ref.resource == "leases" && matches!(self.verb.as_str(), "get" | "update")
    }
}

pub struct Audit {
    path: PathBuf,
}

/// A place in the log. Requests that end after it are seen by [`Audit::since`].
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

impl Audit {
    pub fn of(path: PathBuf) -> Self {
        Self { path }
    }

    pub fn start(&self) -> Mark {
        Mark(0)
    }

    pub fn mark(&self) -> Result<Mark> {
        let size = std::fs::metadata(&self.path).with_context(|| self.path.display().to_string())?.len();
        Ok(Mark(size))
    }

    /// Every request of `user` that the log got after `mark`, each once.
    pub fn since(&self, mark: Mark, user: &str) -> Result<Vec<Entry>> {
        let mut file = File::open(&self.path).with_context(|| self.path.display().to_string())?;
        file.seek(SeekFrom::Start(mark.0))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        entries(&text, user)
    }
}

impl Audit {
    /// What `user` asks for in a stretch of time from now.
    pub async fn during(&self, time: Duration, user: &str) -> Result<Vec<Entry>> {
        let mark = self.mark()?;
        tokio::time::sleep(time).await;
        self.since(mark, user)
    }
}

/// The last line may be half written; it is told the next time.
fn entries(text: &str, user: &str) -> Result<Vec<Entry>> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut requests = Vec::new();
    for line in whole.lines().filter(|line| line.contains(user)) {
        let entry: Entry = serde_json::from_str(line).with_context(|| line.to_owned())?;
        // A watch is told when it begins; its end says nothing new, unless it was refused.
        let told = match (entry.stage.as_str(), entry.verb.as_str()) {
            ("ResponseStarted", verb) => verb == "watch",
            ("ResponseComplete", "watch") => entry.response_status.code >= 400,
            (stage, _) => stage != "RequestReceived",
        };
        if told && entry.user.username == user {
            requests.push(entry);
        }
    }
    Ok(requests)
}

/// Those that a settled operator has no reason to make, as lines.
pub fn unquiet(entries: &[Entry]) -> Vec<String> {
    entries.iter().filter(|entry| !entry.is_quiet()).map(Entry::line).collect()
}

/// As [`unquiet`], for an operator that has just started: it may read once what it watches, of each kind in each place.
pub fn unquiet_at_start(entries: &[Entry]) -> Vec<String> {
    let kind = |entry: &Entry| {
        let ObjectRef { api_group, resource, namespace, subresource: _, name: _ } = &entry.object_ref;
        (api_group.clone(), resource.clone(), namespace.clone())
    };
    let watches = entries.iter().filter(|entry| entry.verb == "watch");
    let watched: BTreeSet<_> = watches.map(kind).collect();
    let mut unread = watched.clone();
    // A page cannot be asked for without its list, which counts.
    let first_list = |entry: &&Entry| match entry.is_next_page() {
        true => watched.contains(&kind(entry)),
        false => entry.verb == "list" && unread.remove(&kind(entry)),
    };
    let (_, others): (Vec<_>, Vec<_>) = entries.iter().partition(first_list);
    others.into_iter().filter(|entry| !entry.is_quiet()).map(Entry::line).collect()
}
