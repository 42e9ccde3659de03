{{/* What the operator may do wherever it watches: the ClusterRole, or a Role in each of watchNamespaces, and nothing
     else is granted there. Its Lease is in role.yaml. A test compares these verbs with those that are used. */}}
{{- define "rules" -}}
- apiGroups: [hyperpage.dev]
  resources: [hyperpages]
  verbs: [list, watch]
- apiGroups: [hyperpage.dev]
  resources: [hyperpages/status]
  verbs: [patch]
# OpenShift asks for it before it accepts an owner reference that blocks deletion.
- apiGroups: [hyperpage.dev]
  resources: [hyperpages/finalizers]
  verbs: [update]
# An apply is a patch; where the object is absent, the API server asks for create as well.
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch]
# A StatefulSet is fixed for ever: for a larger volume it is deleted without its pods, and made again.
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [delete]
# The claims of Redis' volumes, to grow them; StatefulSets make and delete them.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list, watch, patch]
- apiGroups: [""]
  resources: [services, serviceaccounts, configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# Deleted only to be made again, when a stranger's field cannot stand beside ours and no apply removes it.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# By name only, one at a time: never listed, never watched.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch, delete]
# Why a pod does not start is said in status. A pod of Redis that never will, although its image was corrected, is
# deleted.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
