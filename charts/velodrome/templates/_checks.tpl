{{/*
What the schema can't say. Every problem is told at once, with the value's name and the fix.
*/}}
{{- define "velodrome.checks" -}}
{{- $problems := list -}}
{{- $values := .Values -}}

{{- $used := list "operator" "leaderboard" "runner" -}}
{{- if include "velodrome.ownRedis" . }}{{ $used = append $used "redis" }}{{ end -}}
{{- if $values.pushgateway.enabled }}{{ $used = append $used "pushgateway" }}{{ end -}}
{{- range $component := $used -}}
{{- $image := index $values.images $component -}}
{{- if $image.tag -}}
{{- $problems = append $problems (printf "images.%s.tag: a tag can move, so none is taken. Give the digest of %s:%s in images.%s.digest: `crane digest` and `docker buildx imagetools inspect` print it." $component $image.repository $image.tag $component) -}}
{{- else if not $image.digest -}}
{{- $problems = append $problems (printf "images.%s.digest is empty. `make images push REGISTRY=…` writes all digests: add -f charts/velodrome/digests.yaml. Or set it to sha256:… of %s." $component $image.repository) -}}
{{- end -}}
{{- if or (contains "@" $image.repository) (regexMatch ":[^/]*$" $image.repository) -}}
{{- $problems = append $problems (printf "images.%s.repository is %s: write the name alone. The digest goes into images.%s.digest, and a tag can't be used, because it can move." $component $image.repository $component) -}}
{{- end -}}
{{- end -}}

{{- with $values.redis.external -}}
{{- if .url -}}
{{- $url := lower .url -}}
{{- if or (regexMatch "^[a-z+]*sentinel" $url) (contains ":26379" $url) -}}
{{- $problems = append $problems (printf "redis.external.url is the address of Sentinel. Velodrome keeps results in one Redis with one address: give the address of the server itself, or of a proxy that follows the primary.") -}}
{{- else if or (regexMatch "^[a-z+]*cluster" $url) (contains "," $url) -}}
{{- $problems = append $problems (printf "redis.external.url is the address of a Redis in cluster mode. One script accepts a result over keys that cluster mode would spread over servers: give a Redis without cluster mode.") -}}
{{- else if contains "@" $url -}}
{{- $problems = append $problems "redis.external.url has a user or a password: write rediss://HOST:PORT/0, and put the passwords into redis.external.existingSecret." -}}
{{- else if not (regexMatch "^rediss?://[a-z0-9.-]+(:[0-9]+)?(/[0-9]+)?$" $url) -}}
{{- $problems = append $problems (printf "redis.external.url is %s: write rediss://HOST:PORT/0, or redis://… without TLS." .url) -}}
{{- end -}}
{{- if not .existingSecret -}}
{{- $problems = append $problems "redis.external.existingSecret is empty: name the Secret with operator-password, leaderboard-password, marks-password and job-key (docs/install.md)." -}}
{{- end -}}
{{- else if .existingSecret -}}
{{- $problems = append $problems "redis.external.existingSecret is set without redis.external.url: set the address too, or neither." -}}
{{- end -}}
{{- end -}}

{{- with $values.redis.tls -}}
{{- if and (eq .source "secret") (not .existingSecret) -}}
{{- $problems = append $problems "redis.tls.existingSecret is empty: with redis.tls.source: secret, name the Secret with ca.crt, tls.crt and tls.key." -}}
{{- else if and (eq .source "certManager") (not .issuerRef) -}}
{{- $problems = append $problems "redis.tls.issuerRef is empty: with redis.tls.source: certManager, name the issuer, such as {name: internal, kind: ClusterIssuer}." -}}
{{- else if and (eq .source "certManager") (include "velodrome.ownRedis" $) (not ($.Capabilities.APIVersions.Has "cert-manager.io/v1/Certificate")) -}}
{{- $problems = append $problems "redis.tls.source is certManager, and the cluster serves no cert-manager.io/v1: install cert-manager, or use redis.tls.source: generated. (`helm template` needs --api-versions cert-manager.io/v1/Certificate.)" -}}
{{- end -}}
{{- end -}}

{{- if and $values.pushgateway.enabled $values.pushgateway.url -}}
{{- $problems = append $problems "pushgateway.url is set and pushgateway.enabled is true: use your own, or have one installed." -}}
{{- end -}}

{{- with $values.leaderboard -}}
{{- if and .ingress.enabled (not .ingress.host) -}}
{{- $problems = append $problems "leaderboard.ingress.host is empty: name the host under which people find the leaderboard." -}}
{{- end -}}
{{- if and .httpRoute.enabled (not .httpRoute.parentRefs) -}}
{{- $problems = append $problems "leaderboard.httpRoute.parentRefs is empty: name the Gateway, such as [{name: public, namespace: gateways}]." -}}
{{- end -}}
{{- if and (or .ingress.enabled .httpRoute.enabled) (not .signIn.enabled) (not .open) -}}
{{- $problems = append $problems "leaderboard.signIn.enabled is false, so everybody who reaches the Ingress or the HTTPRoute would see all boards: let people sign in (docs/sign-in.md), or set leaderboard.open: true if another login stands in front, or the results are for everybody." -}}
{{- end -}}
{{- with .signIn -}}
{{- if .enabled -}}
{{- range $field := list "issuer" "clientId" "existingSecret" -}}
{{- if not (index $values.leaderboard.signIn $field) -}}
{{- $problems = append $problems (printf "leaderboard.signIn.%s is empty: docs/sign-in.md says what to write." $field) -}}
{{- end -}}
{{- end -}}
{{- if or (not .viewers.claim) (not .viewers.values) -}}
{{- $problems = append $problems "leaderboard.signIn.viewers names nobody: give a claim and its values, such as {claim: groups, values: [ml-team]}." -}}
{{- end -}}
{{- if and .admins.claim (not .admins.values) -}}
{{- $problems = append $problems "leaderboard.signIn.admins has a claim without values: name them, or leave the claim out." -}}
{{- end -}}
{{- range $where, $address := dict "leaderboard.signIn.issuer" .issuer "the leaderboard's address" (include "velodrome.leaderboardUrl" $) -}}
{{- if and $address (not (hasPrefix "https://" $address)) (not (regexMatch "^http://(localhost|127\\.0\\.0\\.1)(:[0-9]+)?(/|$)" $address)) -}}
{{- $problems = append $problems (printf "%s is %s: people sign in over TLS alone, so write https://…" $where $address) -}}
{{- end -}}
{{- end -}}
{{- if not (include "velodrome.leaderboardUrl" $) -}}
{{- $problems = append $problems "leaderboard.url is empty: with leaderboard.signIn, give the address under which browsers find the pages. For `kubectl port-forward` that is http://localhost:8501." -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (or .ingress.enabled .httpRoute.enabled) $values.networkPolicies.enabled (not $values.networkPolicies.leaderboard.from) -}}
{{- $problems = append $problems "networkPolicies.leaderboard.from is empty, so no ingress controller or gateway reaches the leaderboard: name its pods, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}}]." -}}
{{- end -}}
{{- end -}}

{{- if and $values.rbac.namespaces $values.test.namespace (not (has $values.test.namespace $values.rbac.namespaces)) -}}
{{- $problems = append $problems (printf "test.namespace is %s, where the operator may not race: name one of rbac.namespaces (%s)." $values.test.namespace (join ", " $values.rbac.namespaces)) -}}
{{- end -}}
{{- range $rule := $values.runner.egress -}}
{{- if not $rule.to -}}
{{- $problems = append $problems "runner.egress has a rule without `to`, which would open every address, the API server's and the metadata address too: name to whom." -}}
{{- end -}}
{{- range $peer := $rule.to -}}
{{- with $peer.ipBlock -}}
{{- $first := regexFind "^[0-9]+\\.[0-9]+" .cidr -}}
{{- $prefix := regexFind "[0-9]+$" .cidr | int -}}
{{- $wide := or (lt $prefix 8) (and (lt $prefix 16) (hasPrefix "169." .cidr)) (and (eq $first "169.254")) -}}
{{- $excluded := false -}}
{{- range .except }}{{ if has . (list "169.254.169.254/32" "169.254.0.0/16" "fd00:ec2::254/128" "fd00::/8") }}{{ $excluded = true }}{{ end }}{{ end -}}
{{- if and (contains ":" .cidr) (not $excluded) (or (lt $prefix 8) (hasPrefix "fd00:ec2:" (lower .cidr)) (eq (lower .cidr) "fd00::/8")) -}}
{{- $problems = append $problems (printf "runner.egress: %s contains the metadata address fd00:ec2::254, which gives away the node's credentials: add `except: [fd00:ec2::254/128]`." .cidr) -}}
{{- end -}}
{{- if and $wide (not (contains ":" .cidr)) (not $excluded) -}}
{{- $problems = append $problems (printf "runner.egress: %s contains the metadata address 169.254.169.254, which gives away the node's credentials: add `except: [169.254.0.0/16]`." .cidr) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if $values.crds.enabled -}}
{{- $found := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "benchmarkjobs.velodrome.dev" -}}
{{- with ($found.metadata).annotations -}}
{{- $owner := get . "meta.helm.sh/release-name" -}}
{{- $where := get . "meta.helm.sh/release-namespace" -}}
{{- if and $owner (or (ne $owner $.Release.Name) (ne $where $.Release.Namespace)) -}}
{{- $problems = append $problems (printf "The CRD benchmarkjobs.velodrome.dev belongs to the release %s in the namespace %s. If that release exists, use its CRD: --set crds.enabled=false. If it was uninstalled (crds.keep left the CRD, and your BenchmarkJobs, in place), hand the CRD over and try again: kubectl annotate --overwrite crd benchmarkjobs.velodrome.dev meta.helm.sh/release-name=%s meta.helm.sh/release-namespace=%s" $owner $where $.Release.Name $.Release.Namespace) -}}
{{- end -}}
{{- end -}}
{{- if and $found (not (get (($found.metadata).labels | default dict) "app.kubernetes.io/managed-by" | eq "Helm")) -}}
{{- $problems = append $problems (printf "The CRD benchmarkjobs.velodrome.dev was installed without Helm, for example by deploy/. Hand it over and try again: kubectl label --overwrite crd benchmarkjobs.velodrome.dev app.kubernetes.io/managed-by=Helm && kubectl annotate --overwrite crd benchmarkjobs.velodrome.dev meta.helm.sh/release-name=%s meta.helm.sh/release-namespace=%s" $.Release.Name $.Release.Namespace) -}}
{{- end -}}
{{- end -}}

{{- if $problems -}}
{{- fail (printf "\n\nVelodrome can't be installed like this:\n  - %s\n" (join "\n  - " $problems)) -}}
{{- end -}}
{{- end -}}
