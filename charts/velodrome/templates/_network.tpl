{{/* The rule for DNS. */}}
{{- define "velodrome.dnsRule" -}}
- ports:
    {{- range .Values.networkPolicies.dns.ports }}
    - {port: {{ . }}, protocol: UDP}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  to:
    {{- toYaml .Values.networkPolicies.dns.to | nindent 4 }}
{{- end -}}

{{/* Every address but link-local ones, which are the node's metadata. */}}
{{- define "velodrome.anywhere" -}}
- ipBlock: {cidr: 0.0.0.0/0, except: [169.254.0.0/16]}
{{- end -}}

{{/* The rule that lets pods reach Redis: (dict "root" $ "foreign" true) for pods of other namespaces. */}}
{{- define "velodrome.redisRule" -}}
- ports: [{port: {{ include "velodrome.redisPort" .root }}, protocol: TCP}]
  to:
    {{- if include "velodrome.ownRedis" .root }}
    {{- include "velodrome.componentPeer" (dict "root" .root "component" "redis" "foreign" .foreign) | nindent 4 }}
    {{- else if .root.Values.redis.external.to }}
    {{- toYaml .root.Values.redis.external.to | nindent 4 }}
    {{- else }}
    {{- include "velodrome.anywhere" . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* The rule that lets pods reach the Pushgateway; nothing where there is none. */}}
{{- define "velodrome.pushgatewayRule" -}}
{{- if include "velodrome.pushgatewayUrl" .root -}}
- ports: [{port: {{ include "velodrome.pushgatewayPort" .root }}, protocol: TCP}]
  to:
    {{- if .root.Values.pushgateway.enabled }}
    {{- include "velodrome.componentPeer" (dict "root" .root "component" "pushgateway" "foreign" .foreign) | nindent 4 }}
    {{- else if .root.Values.pushgateway.to }}
    {{- toYaml .root.Values.pushgateway.to | nindent 4 }}
    {{- else }}
    {{- include "velodrome.anywhere" . | nindent 4 }}
    {{- end }}
{{- end -}}
{{- end -}}

{{/* The pods of a component of this installation, as its own pods or pods of other namespaces name them. */}}
{{- define "velodrome.componentPeer" -}}
- podSelector:
    matchLabels:
      {{- include "velodrome.selector" . | nindent 6 }}
  {{- if .foreign }}
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .root.Release.Namespace }}}}
  {{- end }}
{{- end -}}

{{/* The runner pods of the namespaces in which the operator races, as the `from` of a policy. */}}
{{- define "velodrome.runnerPeers" -}}
- podSelector: {matchLabels: {velodrome.dev/role: runner}}
  {{- if .Values.rbac.namespaces }}
  namespaceSelector:
    matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: {{ toJson .Values.rbac.namespaces }}}]
  {{- else }}
  namespaceSelector: {}
  {{- end }}
{{- end -}}
