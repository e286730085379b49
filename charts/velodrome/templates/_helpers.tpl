{{/* The start of every object's name. */}}
{{- define "velodrome.name" -}}
{{- .Values.fullnameOverride | default "velodrome" | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of an object that belongs to no namespace: two installations must not share it. */}}
{{- define "velodrome.clusterName" -}}
{{- $name := include "velodrome.name" . -}}
{{- if eq $name .Release.Namespace -}}{{ $name }}{{- else -}}{{ printf "%s-%s" $name .Release.Namespace }}{{- end -}}
{{- end -}}

{{/* The labels by which a component's pods are found. They never change: selectors are immutable. (dict "root" $ "component" "redis") */}}
{{- define "velodrome.selector" -}}
app.kubernetes.io/name: velodrome
app.kubernetes.io/instance: {{ include "velodrome.name" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* The labels of an object of a component. */}}
{{- define "velodrome.labels" -}}
{{ include "velodrome.selector" . }}
app.kubernetes.io/part-of: velodrome
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_") }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The labels of a component's pods. They name no version of the chart, so that an upgrade that changes nothing restarts nothing. */}}
{{- define "velodrome.podLabels" -}}
{{ include "velodrome.selector" . }}
app.kubernetes.io/part-of: velodrome
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* An image by its digest. */}}
{{- define "velodrome.image" -}}
{{- $image := index .root.Values.images .component -}}
{{- with .root.Values.images.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $image.repository }}@{{ $image.digest -}}
{{- end -}}

{{/* A pod's settings that Pod Security "restricted" asks for. */}}
{{- define "velodrome.podSecurity" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- with .Values.podSecurity }}
  {{- range $key := list "runAsUser" "runAsGroup" "fsGroup" }}
  {{- with get $.Values.podSecurity $key }}
  {{ $key }}: {{ int64 . }}
  {{- end }}
  {{- end }}
  {{- end }}
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A container's settings that Pod Security "restricted" asks for, and a root file system that nobody writes to. */}}
{{- define "velodrome.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where a component's pods may run. The argument is the component's values. */}}
{{- define "velodrome.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* A PodDisruptionBudget: (dict "root" $ "component" "redis" "values" .Values.redis). */}}
{{- define "velodrome.podDisruptionBudget" -}}
{{- if .values.podDisruptionBudget.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "velodrome.name" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "velodrome.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .values.podDisruptionBudget.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "velodrome.selector" . | nindent 6 }}
{{- end }}
{{- end -}}

{{/* Whether the chart installs Redis itself: "true" or nothing. */}}
{{- define "velodrome.ownRedis" -}}
{{- if not .Values.redis.external.url }}true{{ end -}}
{{- end -}}

{{/* The name of the Service, the StatefulSet and the Secret of Redis. */}}
{{- define "velodrome.redisName" -}}
{{ include "velodrome.name" . }}-redis
{{- end -}}

{{/* The names under which pods reach the chart's Redis, as a list. Its certificate is for these. */}}
{{- define "velodrome.redisHosts" -}}
{{- $name := include "velodrome.redisName" . -}}
{{- list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.%s" $name .Release.Namespace .Values.clusterDomain) | toJson -}}
{{- end -}}

{{/* The host and port of Redis as pods of every namespace reach it. */}}
{{- define "velodrome.redisAddress" -}}
{{- if include "velodrome.ownRedis" . -}}
{{ index (include "velodrome.redisHosts" . | fromJsonArray) 3 }}:6379
{{- else -}}
{{- $host := (urlParse .Values.redis.external.url).host -}}
{{- if regexMatch ":[0-9]+$" $host }}{{ $host }}{{ else }}{{ $host }}:6379{{ end -}}
{{- end -}}
{{- end -}}

{{/* The URL of Redis without user and password. */}}
{{- define "velodrome.redisUrl" -}}
{{- if include "velodrome.ownRedis" . -}}
rediss://{{ include "velodrome.redisName" . }}:6379/0
{{- else -}}
{{ .Values.redis.external.url }}
{{- end -}}
{{- end -}}

{{/* The port of Redis. */}}
{{- define "velodrome.redisPort" -}}
{{ regexFind "[0-9]+$" (include "velodrome.redisAddress" .) }}
{{- end -}}

{{/* The Secret with the passwords. */}}
{{- define "velodrome.passwordSecret" -}}
{{- if include "velodrome.ownRedis" . }}{{ include "velodrome.redisName" . }}{{ else }}{{ .Values.redis.external.existingSecret }}{{ end -}}
{{- end -}}

{{/* The Secret with the certificate of Redis' authority; empty where the system's authorities do. */}}
{{- define "velodrome.caSecret" -}}
{{- if include "velodrome.ownRedis" . -}}
{{- include "velodrome.certificateSecret" . -}}
{{- else if .Values.redis.external.privateCA -}}
{{ .Values.redis.external.existingSecret }}
{{- end -}}
{{- end -}}

{{/* The Secret with the certificate and the key of the chart's Redis. */}}
{{- define "velodrome.certificateSecret" -}}
{{- $tls := .Values.redis.tls -}}
{{- if eq $tls.source "secret" -}}
{{ $tls.existingSecret }}
{{- else if eq $tls.source "certManager" -}}
{{ include "velodrome.redisName" . }}-tls
{{- else -}}
{{ include "velodrome.redisName" . }}
{{- end -}}
{{- end -}}

{{/* How a component reaches Redis: (dict "root" $ "user" "leaderboard"). The files are those of `velodrome.redisVolume`. */}}
{{- define "velodrome.redisEnv" -}}
- {name: VELODROME_REDIS_URL, value: {{ include "velodrome.redisUrl" .root | quote }}}
- {name: VELODROME_REDIS_USERNAME, value: {{ .user }}}
- {name: VELODROME_REDIS_PASSWORD_FILE, value: /etc/velodrome-redis/password}
{{- if include "velodrome.caSecret" .root }}
- {name: VELODROME_REDIS_CA_FILE, value: /etc/velodrome-redis/ca.crt}
{{- end }}
{{- end -}}

{{/* Where these files are mounted. */}}
{{- define "velodrome.redisMount" -}}
- {name: redis-access, mountPath: /etc/velodrome-redis, readOnly: true}
{{- end -}}

{{/*
The volume with a component's own password, the certificate of Redis' authority, and `keys` (key: file) besides.
`optional` is for the operator alone: its init container makes the Secret that this volume shows.
*/}}
{{- define "velodrome.redisVolume" -}}
- name: redis-access
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ include "velodrome.passwordSecret" .root }}
          {{- if .optional }}
          optional: true
          {{- end }}
          items:
            - {key: {{ .user }}-password, path: password}
            {{- range $key, $path := .keys }}
            - {key: {{ $key }}, path: {{ $path }}}
            {{- end }}
      {{- with include "velodrome.caSecret" .root }}
      - secret:
          name: {{ . }}
          {{- if $.optional }}
          optional: true
          {{- end }}
          items: [{key: ca.crt, path: ca.crt}]
      {{- end }}
{{- end -}}

{{/* The URL of the Pushgateway as pods reach it; empty where there is none. */}}
{{- define "velodrome.pushgatewayUrl" -}}
{{- if .Values.pushgateway.enabled -}}
http://{{ include "velodrome.name" . }}-pushgateway.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}:9091
{{- else -}}
{{ .Values.pushgateway.url }}
{{- end -}}
{{- end -}}

{{/* The port of that URL. */}}
{{- define "velodrome.pushgatewayPort" -}}
{{- $url := urlParse (include "velodrome.pushgatewayUrl" .) -}}
{{- regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end -}}

{{/* Where people find the leaderboard; empty where nobody said. */}}
{{- define "velodrome.leaderboardUrl" -}}
{{- $board := .Values.leaderboard -}}
{{- if $board.url -}}
{{ $board.url }}
{{- else if and $board.ingress.enabled $board.ingress.host -}}
{{ ternary "https" "http" (not (empty $board.ingress.tlsSecret)) }}://{{ $board.ingress.host }}
{{- end -}}
{{- end -}}

{{/* The sign-in file of the leaderboard, beside which its secrets are mounted. */}}
{{- define "velodrome.signInFile" -}}
{{- $signIn := .Values.leaderboard.signIn -}}
issuer: {{ $signIn.issuer | quote }}
clientId: {{ $signIn.clientId | quote }}
clientSecretFile: client-secret
cookieSecretFile: cookie-secret
address: {{ include "velodrome.leaderboardUrl" . | quote }}
scopes: {{ toJson $signIn.scopes }}
sessionHours: {{ $signIn.sessionHours }}
name: {{ $signIn.name | quote }}
viewers: {{ toJson $signIn.viewers }}
{{- if $signIn.admins.claim }}
admins: {{ toJson $signIn.admins }}
{{- end }}
boards: {{ toJson $signIn.boards }}
publicBoards: {{ toJson $signIn.publicBoards }}
{{- if $signIn.tokens }}
tokensFile: tokens
{{- end }}
{{- end -}}

{{/* Annotations of the leaderboard's pods. They change with the sign-in file, which is read when a pod starts. */}}
{{- define "velodrome.leaderboardAnnotations" -}}
{{- with .Values.leaderboard.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- if .Values.leaderboard.signIn.enabled }}
velodrome.dev/sign-in: {{ include "velodrome.signInFile" . | sha256sum | trunc 16 | quote }}
{{- end }}
{{- end -}}

{{/* The port of the provider that signs people in. */}}
{{- define "velodrome.providerPort" -}}
{{- $url := urlParse .Values.leaderboard.signIn.issuer -}}
{{- regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end -}}

{{/* The namespace in which `helm test` races. */}}
{{- define "velodrome.testNamespace" -}}
{{ .Values.test.namespace | default (first .Values.rbac.namespaces) | default .Release.Namespace }}
{{- end -}}

{{/* The namespaces whose runner pods get a NetworkPolicy, as a list: those that are named, and the one of `helm test`. */}}
{{- define "velodrome.runnerNamespaces" -}}
{{- concat .Values.rbac.namespaces .Values.runner.namespaces (list (include "velodrome.testNamespace" .)) | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* A quantity of memory, such as 2Gi, in bytes. */}}
{{- define "velodrome.bytes" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $text := toString . -}}
{{- $number := regexFind "^[0-9]+" $text -}}
{{- mul (int64 $number) (get $units (trimPrefix $number $text)) -}}
{{- end -}}
