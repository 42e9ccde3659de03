//! The Pod Security Standard `restricted`, which no podTemplate may go below, for every container, a user's own
//! included. Told before anything is written, and where the cluster itself does not ask for it.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Capabilities, Container, Lifecycle, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    SELinuxOptions, SeccompProfile, SecurityContext, Volume, WindowsSecurityContextOptions,
};
use serde_json::{Value, json};

use super::Fault;
use crate::hyperpage::build::security;

/// What a container that only a podTemplate knows begins as.
pub(super) fn new_container() -> Value {
    json!({"securityContext": security::container()})
}

pub(super) fn check(template: &PodTemplateSpec) -> Result<(), Fault> {
    let annotations = template.metadata.iter().filter_map(|it| it.annotations.as_ref()).flatten();
    for (name, value) in annotations {
        let armor = name.starts_with("container.apparmor.security.beta.kubernetes.io/");
        let confined = value == "runtime/default" || value.starts_with("localhost/");
        must(
            !armor || confined,
            &format!("metadata.annotations.{name}"),
            "must be runtime/default or localhost/…",
        )?;
    }
    template.spec.as_ref().map_or(Ok(()), pod)
}

fn must(holds: bool, at: &str, rule: &str) -> Result<(), Fault> {
    let rule = || format!("{rule}: pods obey the Pod Security Standard restricted");
    if holds { Ok(()) } else { Err(Fault::new(at, rule())) }
}

fn pod(spec: &PodSpec) -> Result<(), Fault> {
    let hosts = [("hostNetwork", spec.host_network), ("hostPID", spec.host_pid), ("hostIPC", spec.host_ipc)];
    for (name, host) in hosts {
        must(host != Some(true), &format!("spec.{name}"), "must be absent")?;
    }
    let context = spec.security_context.clone().unwrap_or_default();
    pod_context("spec.securityContext", &context)?;
    for volume in spec.volumes.iter().flatten() {
        let kinds = "must be a configMap, csi, downwardAPI, emptyDir, ephemeral, persistentVolumeClaim, projected or secret";
        must(is_harmless(volume), &format!("spec.volumes[{}]", volume.name), kinds)?;
    }
    for it in spec.init_containers.iter().flatten() {
        container(&format!("spec.initContainers[{}]", it.name), it)?;
    }
    spec.containers.iter().try_for_each(|it| container(&format!("spec.containers[{}]", it.name), it))
}

fn is_harmless(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.csi.is_some()
        || volume.downward_api.is_some()
        || volume.empty_dir.is_some()
        || volume.ephemeral.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.projected.is_some()
        || volume.secret.is_some()
}

fn pod_context(at: &str, context: &PodSecurityContext) -> Result<(), Fault> {
    const SYSCTLS: [&str; 11] = [
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    ];
    must(context.run_as_non_root == Some(true), &format!("{at}.runAsNonRoot"), "must be true")?;
    must(context.run_as_user != Some(0), &format!("{at}.runAsUser"), "may not be 0")?;
    must(context.seccomp_profile.is_some(), &format!("{at}.seccompProfile"), "must be set")?;
    for sysctl in context.sysctls.iter().flatten() {
        let safe = SYSCTLS.contains(&sysctl.name.as_str());
        must(safe, &format!("{at}.sysctls[{}]", sysctl.name), "must be a safe sysctl")?;
    }
    let PodSecurityContext { seccomp_profile, app_armor_profile, se_linux_options, windows_options, .. } =
        context;
    profiles(at, seccomp_profile.as_ref(), app_armor_profile.as_ref())?;
    options(at, se_linux_options.as_ref(), windows_options.as_ref())
}

fn container(at: &str, container: &Container) -> Result<(), Fault> {
    let context = container.security_context.clone().unwrap_or_default();
    container_context(&format!("{at}.securityContext"), &context)?;
    for port in container.ports.iter().flatten() {
        let at = format!("{at}.ports[{}].hostPort", port.name.as_deref().unwrap_or_default());
        must(port.host_port.unwrap_or(0) == 0, &at, "must be absent")?;
    }
    probe(&format!("{at}.startupProbe"), container.startup_probe.as_ref())?;
    probe(&format!("{at}.livenessProbe"), container.liveness_probe.as_ref())?;
    probe(&format!("{at}.readinessProbe"), container.readiness_probe.as_ref())?;
    container.lifecycle.as_ref().map_or(Ok(()), |it| lifecycle(&format!("{at}.lifecycle"), it))
}

fn container_context(at: &str, context: &SecurityContext) -> Result<(), Fault> {
    let SecurityContext {
        allow_privilege_escalation,
        app_armor_profile,
        capabilities,
        privileged,
        proc_mount,
        read_only_root_filesystem: _,
        run_as_group: _,
        run_as_non_root,
        run_as_user,
        se_linux_options,
        seccomp_profile,
        windows_options,
    } = context;
    must(
        *allow_privilege_escalation == Some(false),
        &format!("{at}.allowPrivilegeEscalation"),
        "must be false",
    )?;
    must(*privileged != Some(true), &format!("{at}.privileged"), "must be absent")?;
    must(*run_as_non_root != Some(false), &format!("{at}.runAsNonRoot"), "may not be false")?;
    must(*run_as_user != Some(0), &format!("{at}.runAsUser"), "may not be 0")?;
    must(
        proc_mount.as_deref().is_none_or(|it| it == "Default"),
        &format!("{at}.procMount"),
        "must be Default",
    )?;
    let Capabilities { add, drop } = capabilities.clone().unwrap_or_default();
    let dropped = drop.iter().flatten().any(|name| name == "ALL");
    must(dropped, &format!("{at}.capabilities.drop"), "must hold ALL")?;
    let added = add.iter().flatten().all(|name| name == "NET_BIND_SERVICE");
    must(added, &format!("{at}.capabilities.add"), "may hold NET_BIND_SERVICE only")?;
    profiles(at, seccomp_profile.as_ref(), app_armor_profile.as_ref())?;
    options(at, se_linux_options.as_ref(), windows_options.as_ref())
}

fn profiles(
    at: &str,
    seccomp: Option<&SeccompProfile>,
    armor: Option<&AppArmorProfile>,
) -> Result<(), Fault> {
    let confined = |type_: &str| type_ == "RuntimeDefault" || type_ == "Localhost";
    let rule = "must be RuntimeDefault or Localhost";
    must(seccomp.is_none_or(|it| confined(&it.type_)), &format!("{at}.seccompProfile.type"), rule)?;
    must(armor.is_none_or(|it| confined(&it.type_)), &format!("{at}.appArmorProfile.type"), rule)
}

fn options(
    at: &str,
    se_linux: Option<&SELinuxOptions>,
    windows: Option<&WindowsSecurityContextOptions>,
) -> Result<(), Fault> {
    const TYPES: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
    let empty = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
    if let Some(SELinuxOptions { level: _, role, type_, user }) = se_linux {
        let known = TYPES.contains(&type_.as_deref().unwrap_or_default());
        must(known, &format!("{at}.seLinuxOptions.type"), "must be a container's")?;
        must(empty(role), &format!("{at}.seLinuxOptions.role"), "must be absent")?;
        must(empty(user), &format!("{at}.seLinuxOptions.user"), "must be absent")?;
    }
    let host = windows.is_some_and(|it| it.host_process == Some(true));
    must(!host, &format!("{at}.windowsOptions.hostProcess"), "must be absent")
}

/// A probe that names a host makes the kubelet send requests anywhere.
pub(super) fn probe(at: &str, probe: Option<&Probe>) -> Result<(), Fault> {
    let Some(probe) = probe else { return Ok(()) };
    let http = probe.http_get.as_ref().and_then(|it| it.host.as_deref());
    let tcp = probe.tcp_socket.as_ref().and_then(|it| it.host.as_deref());
    hosts(at, [http, tcp])
}

fn lifecycle(at: &str, lifecycle: &Lifecycle) -> Result<(), Fault> {
    for (name, hook) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        let Some(hook) = hook else { continue };
        let http = hook.http_get.as_ref().and_then(|it| it.host.as_deref());
        let tcp = hook.tcp_socket.as_ref().and_then(|it| it.host.as_deref());
        hosts(&format!("{at}.{name}"), [http, tcp])?;
    }
    Ok(())
}

fn hosts(at: &str, [http, tcp]: [Option<&str>; 2]) -> Result<(), Fault> {
    must(http.is_none_or(str::is_empty), &format!("{at}.httpGet.host"), "must be absent")?;
    must(tcp.is_none_or(str::is_empty), &format!("{at}.tcpSocket.host"), "must be absent")
}
