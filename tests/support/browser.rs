//! Chromium without a window, driven over its own protocol: what a person sees and presses, and what its console says.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::binaries::on_path;
use crate::eventually::eventually;
use crate::lived::timeout;
use crate::scratch::Scratch;

/// Its start included, on a machine with other things to do.
const ANSWER: Duration = Duration::from_secs(20);
/// It reads commands from descriptor 3 and answers on 4.
const PIPES: &str = r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;
const QUIET: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
];

/// One page. It ends with this.
pub struct Browser {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    number: u64,
    /// Of the page, once it is there.
    session: Option<String>,
    console: Vec<String>,
    _process: Child,
    _profile: Scratch,
}

impl Browser {
    pub async fn open(url: &str) -> Browser {
        let mut browser = Browser::start().await;
        browser.call("Page.navigate", json!({ "url": url })).await;
        browser
    }

    /// One that runs no script of the page.
    pub async fn without_scripts(url: &str) -> Browser {
        let mut browser = Browser::start().await;
        browser.call("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await;
        browser.call("Page.navigate", json!({ "url": url })).await;
        browser
    }

    async fn start() -> Browser {
        let chromium = on_path("chromium").expect("chromium is not on the PATH; apt-get install chromium");
        let profile = Scratch::new("browser");
        let mut command = Command::new("/bin/bash");
        command.args(["-c", PIPES, "browser"]).arg(chromium).args(QUIET);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("bash starts");
        let input = process.stdin.take().expect("it is piped");
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut browser = Browser {
            input,
            output,
            number: 0,
            session: None,
            console: Vec::new(),
            _process: process,
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach).await;
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            browser.call(domain, json!({})).await;
        }
        browser
    }

    /// The value of an expression in the page.
    pub async fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", asked).await;
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// What a reader of the page has before him.
    pub async fn text(&mut self) -> String {
        self.value("document.body?.innerText ?? ''").await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression holds.
    pub async fn sees(&mut self, what: &str, within: Duration, expression: &str) {
        eventually(what, within, async || {
            // A page that is being replaced has none of its elements.
            let guarded =
                format!("(() => {{ try {{ return !!({expression}) }} catch {{ return false }} }})()");
            if self.value(&guarded).await == true { Ok(()) } else { Err(self.text().await) }
        })
        .await;
    }

    /// Presses the one button with these words, or the first of them within `part` of the page.
    pub async fn press(&mut self, part: &str, words: &str) {
        let (part, words) = (json!(part), json!(words));
        let found = format!(
            "[...document.querySelector({part}).querySelectorAll('button')].find((it) => it.textContent === {words})"
        );
        let pressed = self.value(&format!("({found})?.click() === undefined && !!({found})")).await;
        assert_eq!(pressed, true, "there is no button {words} in {part}");
    }

    /// All that it has said, up to now: errors, warnings, refused resources.
    pub async fn console(&mut self) -> Vec<String> {
        // Whatever was said before the answer to this comes before it.
        self.value("1").await;
        self.console.clone()
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut command = json!({ "id": self.number, "method": method, "params": params });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let command = [command.to_string().as_bytes(), b"\0"].concat();
        let answer = async {
            self.input.write_all(&command).await.expect("the browser listens");
            loop {
                let message = self.read().await;
                if message["id"] == self.number {
                    return message;
                }
                self.note(&message);
            }
        };
        let answer = timeout(ANSWER, answer).await.expect("the browser answers");
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    async fn read(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.output.read_until(0, &mut bytes).await.expect("the browser speaks");
        assert_eq!(bytes.pop(), Some(0), "the browser has ended");
        serde_json::from_slice(&bytes).expect("the browser speaks JSON")
    }

    fn note(&mut self, message: &Value) {
        let what = match message["method"].as_str() {
            Some("Runtime.consoleAPICalled") => &message["params"]["args"],
            Some("Runtime.exceptionThrown") => &message["params"]["exceptionDetails"],
            Some("Log.entryAdded") => &message["params"]["entry"],
            _ => return,
        };
        self.console.push(what.to_string());
    }
}
