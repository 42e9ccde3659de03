//! Certificates, made by openssl for one test.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::scratch::Scratch;

/// Whoever trusts `certificate` trusts the servers that it names.
pub struct Authority {
    dir: Scratch,
}

/// Without it openssl reads one of the machine's, which adds extensions of its own.
const CONFIG: &str = "[req]\ndistinguished_name = name\n[name]\n";

impl Authority {
    pub fn new() -> Authority {
        let dir = Scratch::new("tls");
        dir.write("openssl.cnf", CONFIG);
        let authority = Authority { dir };
        authority.request("ca", &["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"], &[]);
        authority
    }

    pub fn certificate(&self) -> String {
        std::fs::read_to_string(self.path("ca.crt")).expect("the certificate was made")
    }

    /// Options of a redis-server that listens on this port with TLS too, by a certificate for `address`.
    pub fn redis_options(&self, port: u16, address: &str) -> Vec<String> {
        let alternative = format!("subjectAltName=IP:{address}");
        self.request("server", &["basicConstraints=critical,CA:FALSE", &alternative], &["ca.crt", "ca.key"]);
        let file = |name: &str| self.path(name).display().to_string();
        let options = [
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", file("server.crt")),
            ("--tls-key-file", file("server.key")),
            ("--tls-ca-cert-file", file("ca.crt")),
            ("--tls-auth-clients", "no".to_owned()),
        ];
        options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    /// A key and its certificate: signed by `by`, or by itself.
    fn request(&self, name: &str, extensions: &[&str], by: &[&str]) {
        let mut command = Command::new("openssl");
        command.current_dir(self.dir.path()).args(["req", "-x509", "-config", "openssl.cnf", "-days", "2"]);
        command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        command.args(["-subj", &format!("/CN={name}"), "-keyout", &format!("{name}.key")]);
        command.args(["-out", &format!("{name}.crt")]);
        command.args(extensions.iter().flat_map(|extension| ["-addext", extension]));
        command.args(["-CA", "-CAkey"].into_iter().zip(by).flat_map(|(option, file)| [option, file]));
        let output = command.output().expect("missing openssl: apt-get install openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.dir.path()).join(name)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
