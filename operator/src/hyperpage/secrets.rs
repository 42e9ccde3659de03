//! Somebody's Secrets that Redis is entered by. They are not watched: they are read by name where the spec moved or a
//! pod has trouble, judged here, and never repeated in a word.

use crds::{External, Reason, SecretKey};
use k8s_openapi::api::core::v1::Secret;

use super::{Problem, password::Password, validate::Access};
use crate::apply::{Calls, Error};

/// Reads and judges what `access` refers to. Ours is none of it.
pub async fn read(calls: &Calls<'_>, access: &Access) -> Result<Password, Error> {
    Ok(match access {
        Access::Generated => Password::Absent,
        Access::Given(key) => given(key, calls.secret(&key.name).await?.as_ref()),
        Access::External(External { url_secret_ref, ca_secret_ref }) => {
            let url = calls.secret(&url_secret_ref.name).await?;
            let ca = match ca_secret_ref {
                Some(key) => Some((key, calls.secret(&key.name).await?)),
                None => None,
            };
            external((url_secret_ref, url.as_ref()), ca.as_ref().map(|(key, found)| (*key, found.as_ref())))
        }
    })
}

const GIVEN: &str = "spec.redis.passwordSecretRef";
const URL: &str = "spec.redis.external.urlSecretRef";
const CA: &str = "spec.redis.external.caSecretRef";

fn given(key: &SecretKey, found: Option<&Secret>) -> Password {
    match value(GIVEN, key, found) {
        Err(missing) => missing,
        Ok(password) if password.iter().all(|byte| is_plain(*byte)) => Password::Theirs { unused: None },
        Ok(_) => unusable(format!(
            "{GIVEN}: the password in Secret {}, key {}, may have letters, digits and -._~ only, and no line break \
             after it: the app's REDIS_URL holds it",
            key.name, key.key
        )),
    }
}

fn external(
    (key, url): (&SecretKey, Option<&Secret>),
    ca: Option<(&SecretKey, Option<&Secret>)>,
) -> Password {
    let url = match value(URL, key, url) {
        Err(missing) => return missing,
        Ok(url) => url,
    };
    if let Some((key, found)) = ca
        && let Err(missing) = value(CA, key, found)
    {
        return missing;
    }
    let schemes: &[&str] = if ca.is_some() { &["rediss://"] } else { &["redis://", "rediss://"] };
    match schemes.iter().any(|scheme| url.starts_with(scheme.as_bytes())) {
        true => Password::Theirs { unused: None },
        false => unusable(format!(
            "{URL}: the URL in Secret {}, key {}, has to begin with {}",
            key.name,
            key.key,
            schemes.join(" or ")
        )),
    }
}

fn value<'a>(field: &str, key: &SecretKey, found: Option<&'a Secret>) -> Result<&'a [u8], Password> {
    let SecretKey { name, key } = key;
    let missing = |what: String| Password::Missing(format!("{field}: {what}; waiting for it"));
    let secret = found.ok_or_else(|| missing(format!("Secret {name} (key {key}) does not exist")))?;
    let value = secret.data.iter().flatten().find(|(name, _)| *name == key).map(|(_, value)| &value.0[..]);
    value.filter(|value| !value.is_empty()).ok_or_else(|| missing(format!("Secret {name} has no key {key}")))
}

/// Means itself in a URL, in redis.conf and in a shell.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn unusable(message: String) -> Password {
    Password::Unusable(Problem { reason: Reason::InvalidSpec, message, child: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key() -> SecretKey {
        SecretKey { name: "mine".to_owned(), key: "k".to_owned() }
    }

    fn holding(value: &str) -> Secret {
        let bytes = k8s_openapi::ByteString(value.into());
        serde_json::from_value(json!({"metadata": {"name": "mine"}, "data": {"k": bytes}})).unwrap()
    }

    #[test]
    fn a_password_that_a_url_cannot_hold_is_named_and_not_repeated() {
        for good in ["s3cret", "A-b._~9"] {
            let judged = given(&key(), Some(&holding(good)));
            assert!(matches!(judged, Password::Theirs { .. }), "{good}: {judged:?}");
        }
        for bad in ["s3cret\n", "s3cret@", "s3 cret", "s3cret/", "$(s3cret)", "s3crét", "\"s3cret"] {
            let judged = given(&key(), Some(&holding(bad)));
            let Password::Unusable(problem) = judged else { panic!("{bad}: {judged:?}") };
            let message = &problem.message;
            assert!(message.contains("Secret mine, key k") && !message.contains("s3cr"), "{message}");
        }
    }

    #[test]
    fn a_missing_secret_and_a_missing_key_are_named() {
        for (found, says) in [
            (None, "Secret mine (key k) does not exist"),
            (Some(Secret::default()), "Secret mine has no key k"),
            (Some(holding("")), "Secret mine has no key k"),
        ] {
            for judged in [given(&key(), found.as_ref()), external((&key(), found.as_ref()), None)] {
                let Password::Missing(message) = judged else { panic!("{judged:?}") };
                assert!(message.contains(says), "{message}");
            }
        }
        let ca = external((&key(), Some(&holding("rediss://h"))), Some((&key(), None)));
        let Password::Missing(message) = ca else { panic!("{ca:?}") };
        assert!(message.contains("caSecretRef"), "{message}");
    }

    #[test]
    fn an_external_url_is_one_of_redis_and_with_certificates_of_tls() {
        let judge = |url: &str, ca: bool| {
            let (url, ca_secret) = (holding(url), holding("pem"));
            let key = key();
            external((&key, Some(&url)), ca.then_some((&key, Some(&ca_secret))))
        };
        for (url, ca) in [("redis://h", false), ("rediss://:s3cret@h", false), ("rediss://h", true)] {
            assert!(matches!(judge(url, ca), Password::Theirs { .. }), "{url}");
        }
        for (url, ca) in [("http://:s3cret@h", false), ("h:6379", false), ("redis://:s3cret@h", true)] {
            let judged = judge(url, ca);
            let Password::Unusable(problem) = judged else { panic!("{url}: {judged:?}") };
            assert!(!problem.message.contains("s3cret"), "{}", problem.message);
        }
    }
}
