{{/* What the templates share. Names are fixed: the policies know the accounts by them, so a cluster has one release. */}}

{{- define "portcullis.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "portcullis.apiServerPorts" -}}
{{- $ports := .Values.networkPolicy.apiServerPorts -}}
{{- if not $ports -}}
{{- range (lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "").items -}}
{{- if eq (dig "labels" "kubernetes.io/service-name" "" .metadata) "kubernetes" -}}
{{- range .ports -}}{{- $ports = append $ports (int .port) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $written := list "{port: 443, protocol: TCP}" -}}
{{- range $ports | default (list 6443) | uniq -}}
{{- if ne (int .) 443 -}}{{- $written = append $written (printf "{port: %d, protocol: TCP}" (int .)) -}}{{- end -}}
{{- end -}}
[{{ join ", " $written }}]
{{- end }}

{{- define "portcullis.readsConfigMaps" -}}
{{- if or .Values.configMaps.read .Values.predefinedProfiles.enabled }}true{{ end -}}
{{- end }}

{{- define "portcullis.configMaps" -}}
{{- if include "portcullis.readsConfigMaps" . }}, --config-maps{{ end -}}
{{- with .Values.configMaps.publish }}, --publish-config-maps, {{ . }}{{ end -}}
{{- end }}

{{/* For the controller and for agents: both have to hold them. */}}
{{- define "portcullis.profileRules" -}}
{{- with .Values.profileRules -}}
{{- with .allowedSyscalls }}, "--allowed-syscalls={{ join "," . }}"{{ end -}}
{{- with .forbiddenSyscalls }}, "--forbidden-syscalls={{ join "," . }}"{{ end -}}
{{- with .allowedSeccompActions }}, "--allowed-seccomp-actions={{ join "," . }}"{{ end -}}
{{- with .forbiddenSeccompActions }}, "--forbidden-seccomp-actions={{ join "," . }}"{{ end -}}
{{- end -}}
{{- end -}}

{{/* The tolerations that are set, with the startup taint's; of a list: those, and the values. */}}
{{- define "portcullis.tolerations" -}}
{{- $all := index . 0 -}}
{{- if (index . 1).startupTaint.enabled -}}
{{- $all = append $all (dict "key" "portcullis.dev/not-ready" "operator" "Exists") -}}
{{- end -}}
{{- if $all }}{{ toJson $all }}{{ end -}}
{{- end }}

{{- define "portcullis.artifacts" -}}
{{- range .Values.artifacts.registries }}, --artifact-registry, {{ quote . }}{{ end -}}
{{- if .Values.artifacts.registries -}}
{{- if .Values.artifacts.key }}, --artifact-key, /etc/portcullis/artifacts/key/key.pem{{ end -}}
{{- if .Values.artifacts.pullSecret }}, --artifact-auth-file, /etc/portcullis/artifacts/auth/.dockerconfigjson{{ end -}}
{{- with .Values.artifacts.certificateAuthorities }}{{ if or .configMap .secret }}, --artifact-ca-file, /etc/portcullis/artifacts/authorities/ca.pem{{ end }}{{ end -}}
{{- end -}}
{{- end }}
