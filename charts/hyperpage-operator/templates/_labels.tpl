{{/* Never managed-by hyperpage-operator: by that label the operator knows its own children. */}}
{{- define "labels" -}}
{{ include "selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "selector" -}}
app.kubernetes.io/name: hyperpage-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
