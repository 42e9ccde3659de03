//! How far the operator looks: at all namespaces, or at some. Each of some is watched, remembered and reconciled
//! apart, so that one that cannot be read holds up no other.

use std::fmt;

use kube::{Api, Client, Resource, core::NamespaceResourceScope};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    All,
    Namespace(String),
}

impl Scope {
    pub fn api<K>(&self, client: Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self {
            Self::All => Api::all(client),
            Self::Namespace(name) => Api::namespaced(client, name),
        }
    }

    /// The one namespace; empty for all, as in the API.
    pub fn namespace(&self) -> &str {
        match self {
            Self::All => "",
            Self::Namespace(name) => name,
        }
    }
}

/// One watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watch {
    pub kind: &'static str,
    pub scope: Scope,
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Scope::All => f.write_str(self.kind),
            Scope::Namespace(name) => write!(f, "{} in namespace {name}", self.kind),
        }
    }
}
