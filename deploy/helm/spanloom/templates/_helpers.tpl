{{- define "spanloom.name" -}}
{{ .Values.nameOverride | default "spanloom" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "spanloom.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains "spanloom" .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-spanloom" .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "spanloom.selector" -}}
app.kubernetes.io/name: {{ include "spanloom.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "spanloom.labels" -}}
{{ include "spanloom.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "spanloom.serviceAccount" -}}
{{ if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "spanloom.fullname" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "spanloom.tlsSecret" -}}
{{ if .Values.tls.existingSecret }}{{ .Values.tls.existingSecret }}{{ else if .Values.tls.certManager.enabled }}{{ include "spanloom.fullname" . }}-tls{{ end }}
{{- end }}

{{- /* The ports of the Service by name: number, listener, and what istiod and gateways are to speak to it. */}}
{{- define "spanloom.ports" -}}
http: {number: 16686, listener: http, speaks: http}
grpc-jaeger: {number: 16685, listener: jaeger-grpc, speaks: grpc}
http-tempo: {number: 3200, listener: tempo, speaks: http}
grpc-tempo: {number: 9095, listener: tempo-grpc, speaks: grpc}
http-zipkin: {number: 9411, listener: zipkin, speaks: http}
grpc-otlp: {number: 4317, listener: otlp-grpc, speaks: grpc}
http-otlp: {number: 4318, listener: otlp-http, speaks: http}
http-admin: {number: 8888, listener: admin, speaks: http}
{{- end }}

{{- /* A port's protocol: a listener with TLS is https for everyone, gRPC too. */}}
{{- define "spanloom.appProtocol" -}}
{{- if and (include "spanloom.tlsSecret" .root) (has .port.listener .root.Values.tls.listeners) }}https{{ else }}{{ .port.speaks }}{{ end -}}
{{- end }}

{{- /* How Prometheus scrapes: with TLS it checks the certificate against the authority in the Secret. */}}
{{- define "spanloom.scrape" -}}
{{- $secret := include "spanloom.tlsSecret" . -}}
port: http-admin
{{- if and $secret (has "admin" .Values.tls.listeners) }}
scheme: https
tlsConfig:
  serverName: {{ include "spanloom.fullname" . }}.{{ .Release.Namespace }}.svc
  ca:
    secret: {name: {{ $secret }}, key: ca.crt}
{{- end }}
{{- end }}

{{- /* Values that contradict each other end the rendering, with what to change. */}}
{{- define "spanloom.check" -}}
{{- $v := .Values }}
{{- $remote := has $v.store (list "clickhouse" "opensearch" "elasticsearch") }}
{{- if and $remote (not $v.engine.url) }}
{{- fail (printf "engine.url is empty with store: %s: name the servers, clickhouse://spanloom@clickhouse.data:9000/spanloom or https://spanloom@opensearch.data:9200." $v.store) }}
{{- end }}
{{- if and $v.engine.url (ne (hasPrefix "clickhouse:" $v.engine.url) (eq $v.store "clickhouse")) }}
{{- fail (printf "engine.url: %s with store: %s: clickhouse:// is for store: clickhouse, https:// for opensearch and elasticsearch; local and memory have none." (regexReplaceAll "//[^@/]*@" $v.engine.url "//") $v.store) }}
{{- end }}
{{- if and $v.engine.url (not $remote) }}
{{- fail (printf "engine.url is set with store: %s, which runs no server elsewhere. Set store: opensearch, or remove it." $v.store) }}
{{- end }}
{{- if regexMatch "//[^@/]*:[^@/]*@" $v.engine.url }}
{{- fail "engine.url holds a password, and settings are no secret. Put it into a Secret and name that in engine.existingSecret." }}
{{- end }}
{{- if and (gt (int $v.replicas) 1) $remote $v.persistence.enabled $v.persistence.existingClaim }}
{{- fail (printf "persistence.existingClaim with replicas: %d: each replica needs a volume of its own. Remove existingClaim." (int $v.replicas)) }}
{{- end }}
{{- if and (gt (int $v.replicas) 1) (not $remote) }}
{{- fail (printf "replicas: %d with store: %s: this engine keeps spans in or beside one process, and two would each have a part of every trace. Set replicas: 1, or store: clickhouse or opensearch." (int $v.replicas) $v.store) }}
{{- end }}
{{- range $k, $_ := $v.config }}
{{- if has $k (list "store" "clickhouse-dsn" "opensearch-url" "data-dir" "listen-host" "retention" "max-disk" "max-memory" "base-path" "external-url" "auth-token-file" "auth-exempt" "http-addr" "jaeger-grpc-addr" "tempo-addr" "tempo-grpc-addr" "zipkin-addr" "otlp-grpc-addr" "otlp-http-addr" "admin-addr") }}
{{- fail (printf "config.%s: the chart sets this itself. Use the value of the chart instead (store, engine, retention, maxDisk, maxMemory, basePath, externalUrl, auth); ports and folders are fixed." $k) }}
{{- end }}
{{- if hasPrefix "tls-" $k }}
{{- fail (printf "config.%s: the chart sets this itself. Use tls.existingSecret and tls.listeners." $k) }}
{{- end }}
{{- end }}
{{- if and $v.tls.certManager.enabled (not $v.tls.certManager.issuerRef.name) }}
{{- fail "tls.certManager.issuerRef.name is empty: name the Issuer or ClusterIssuer that signs." }}
{{- end }}
{{- if and $v.tls.clientCA (has "admin" $v.tls.listeners) }}
{{- fail "tls.clientCA with admin among tls.listeners: the kubelet shows no certificate, and its probes would fail. Take admin out of tls.listeners." }}
{{- end }}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) }}
{{- fail "ingress.hosts is empty: name the host under which browsers reach Spanloom." }}
{{- end }}
{{- if and $v.ingress.className (hasKey $v.ingress.annotations "kubernetes.io/ingress.class") }}
{{- fail "ingress.className and the annotation kubernetes.io/ingress.class are both set: the API server refuses the pair. Remove the annotation." }}
{{- end }}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) }}
{{- fail "httpRoute.parentRefs is empty: name the Gateway, {name: gateway, namespace: istio-ingress}." }}
{{- end }}
{{- if and $v.doctor.level (eq (include "spanloom.serviceAccount" .) "default") }}
{{- fail (printf "doctor.level: %d would give its rights to the service account default, and so to every pod of the namespace. Set serviceAccount.create: true or a serviceAccount.name." (int $v.doctor.level)) }}
{{- end }}
{{- if and $v.service.nodePort (eq $v.service.type "ClusterIP") }}
{{- fail "service.nodePort needs service.type NodePort or LoadBalancer." }}
{{- end }}
{{- if and $v.addonServices (has (include "spanloom.fullname" .) (list "tracing" "zipkin" "jaeger-collector")) }}
{{- fail (printf "addonServices: the release's own Service is called %s already. Set fullnameOverride: spanloom." (include "spanloom.fullname" .)) }}
{{- end }}
{{- end }}
