//! What stops a Hyperpage until somebody acts, in words for that somebody.

use crds::{Hyperpage, Reason};
use kube::Resource;

use super::{converge::Plan, invalid::Invalid};
use crate::{apply, children::ChildId};

/// What stops a Hyperpage until somebody acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub reason: Reason,
    pub message: String,
    pub child: Option<ChildId>,
}

impl Problem {
    pub fn fight(child: &ChildId, by: &str) -> Self {
        let message =
            format!("{by} keeps changing what the operator applies to {child}; stop it, then wait a minute");
        Self { reason: Reason::ApplyConflict, message, child: Some(child.clone()) }
    }

    pub fn refused(child: &ChildId, words: &str) -> Self {
        let reason = if apply::over_quota(words) { Reason::QuotaExceeded } else { Reason::InvalidSpec };
        let message = format!("the API server refuses {child}: {words}");
        Self { reason, message, child: Some(child.clone()) }
    }

    pub fn foreign(autoscaler: &str, plan: &Plan) -> Self {
        let name = &plan.hyperpage;
        let advice = match plan.min_replicas {
            Some(_) => "remove it: spec.autoscaling has made one".to_owned(),
            None => format!(
                "use spec.autoscaling instead of it, or let it scale the Hyperpage: \
                 scaleTargetRef: {{apiVersion: {}, kind: Hyperpage, name: {name}}}",
                Hyperpage::api_version(&())
            ),
        };
        let but = if plan.suspend { ", but for the zero of spec.suspend" } else { "" };
        let message = format!(
            "HorizontalPodAutoscaler {autoscaler} scales Deployment {name}, whose number of pods the operator \
             therefore leaves alone{but}; {advice}"
        );
        Self { reason: Reason::ForeignAutoscaler, message, child: None }
    }

    /// Two at once, under the reason of the first.
    pub fn and(self, other: Self) -> Self {
        Self { message: format!("{}; {}", self.message, other.message), ..self }
    }

    /// All other children are as the spec wants them.
    pub fn concerns_one_child_alone(&self) -> bool {
        self.reason == Reason::ApplyConflict
    }

    /// All but the number of pods is as the spec wants it.
    pub fn concerns_scaling_alone(&self) -> bool {
        self.reason == Reason::ForeignAutoscaler
    }
}

impl From<Invalid> for Problem {
    fn from(Invalid { reason, message }: Invalid) -> Self {
        Self { reason, message, child: None }
    }
}
