//! The HorizontalPodAutoscaler, when one is wanted.

use crds::contract::{APP_CONTAINER, name};
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricSource, CrossVersionObjectReference, HPAScalingRules, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget,
};

use super::{
    Valid,
    meta::{Component, metadata},
};

pub(super) fn hpa(valid: &Valid) -> Option<HorizontalPodAutoscaler> {
    let crds::Autoscaling {
        min_replicas,
        max_replicas,
        target_cpu_utilization_percentage,
        target_memory_utilization_percentage,
        metrics,
        behavior,
    } = valid.autoscaling.clone()?;
    let targets =
        [("cpu", target_cpu_utilization_percentage), ("memory", target_memory_utilization_percentage)];
    let metrics = targets
        .into_iter()
        .filter_map(|(resource, target)| Some(of_app_container(resource, target?)))
        .chain(metrics)
        .collect();
    Some(HorizontalPodAutoscaler {
        metadata: metadata(valid, name::app(&valid.name), Component::App),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".into()),
                kind: "Deployment".into(),
                name: name::app(&valid.name),
            },
            min_replicas: Some(min_replicas),
            max_replicas,
            metrics: Some(metrics),
            behavior: Some(behavior.unwrap_or_else(scale_down_late)),
        }),
        status: None,
    })
}

/// A metric of the whole pod would count the sidecar too.
fn of_app_container(resource: &str, percent: i32) -> MetricSpec {
    MetricSpec {
        type_: "ContainerResource".into(),
        container_resource: Some(ContainerResourceMetricSource {
            container: APP_CONTAINER.into(),
            name: resource.into(),
            target: MetricTarget {
                type_: "Utilization".into(),
                average_utilization: Some(percent),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    }
}

fn scale_down_late() -> HorizontalPodAutoscalerBehavior {
    HorizontalPodAutoscalerBehavior {
        scale_down: Some(HPAScalingRules {
            stabilization_window_seconds: Some(300),
            ..HPAScalingRules::default()
        }),
        scale_up: None,
    }
}
