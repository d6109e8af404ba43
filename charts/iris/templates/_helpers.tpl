{{/* Shared by all templates: names, labels, images, and what every pod and container must have. */}}

{{- define "iris.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains "iris" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-iris" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* (list . "api"): the labels that select a part's pods; a Deployment can never change them. */}}
{{- define "iris.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: iris
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* (list . "api"): all labels of an object that belongs to a part. */}}
{{- define "iris.labels" -}}
{{- $root := index . 0 -}}
{{ include "iris.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: iris
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* (list . .Values.monitoring.podMonitor.labels): all labels of an object for Prometheus or Grafana, who find it by some. */}}
{{- define "iris.monitoringLabels" -}}
{{- toYaml (merge (deepCopy (index . 1)) (include "iris.labels" (list (index . 0) "monitoring") | fromYaml)) -}}
{{- end }}

{{/* (list . "api"): labels of a part's pods. None that changes with a version: that would start pods anew for nothing. */}}
{{- define "iris.podLabels" -}}
{{- $root := index . 0 -}}
{{ include "iris.selector" . }}
app.kubernetes.io/part-of: iris
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* (list . .Values.api.image): one of our images. */}}
{{- define "iris.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $name := printf "%s:%s" $image.repository ($image.tag | default $root.Values.image.tag | default $root.Chart.AppVersion) -}}
{{- if $image.digest -}}
{{- $name = printf "%s@%s" $image.repository $image.digest -}}
{{- end -}}
{{- with $root.Values.image.registry -}}
{{- $name = printf "%s/%s" (trimSuffix "/" .) $name -}}
{{- end -}}
{{- $name -}}
{{- end }}

{{/* The API's image: with api.sync=inline the one that can predict. */}}
{{- define "iris.apiImage" -}}
{{- $image := .Values.api.image -}}
{{- if eq .Values.api.sync "inline" -}}
{{- if and $image.digest (not $image.inlineDigest) -}}
{{- fail "api.sync=inline takes another image than api.image.digest pins: set api.image.inlineDigest" -}}
{{- end -}}
{{- $image = dict "repository" (printf "%s-inline" $image.repository) "tag" $image.tag "digest" $image.inlineDigest -}}
{{- end -}}
{{- include "iris.image" (list . $image) -}}
{{- end }}

{{/* (list . .Values.api "api"): where and as whom a pod runs. What the restricted Pod Security standard asks for, and no
token but for who asks the API server: the operator, and an API that has it say whose a token is. */}}
{{- define "iris.pod" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
serviceAccountName: {{ include "iris.fullname" $root }}-{{ index . 2 }}
automountServiceAccountToken: {{ or (eq (index . 2) "operator") (eq ((index . 1).auth | default dict).mode "tokenreview") }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $part.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $part.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Pods of a part apart where that is possible: one lost node or zone takes few of them along. */}}
{{- define "iris.spread" -}}
topologySpreadConstraints:
{{- range $place := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $place }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "iris.selector" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}

{{- define "iris.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Name of the Secret with the addresses of the queue, whoever made it. */}}
{{- define "iris.redisSecret" -}}
{{- if and .Values.valkey.enabled .Values.redis.existingSecret -}}
{{- fail "redis.existingSecret names a queue of your own: set valkey.enabled=false with it" -}}
{{- else if .Values.valkey.enabled -}}
{{- .Values.valkey.existingSecret | default (printf "%s-redis" (include "iris.fullname" .)) -}}
{{- else -}}
{{- required "there is no queue: set redis.existingSecret, or valkey.enabled=true" .Values.redis.existingSecret -}}
{{- end -}}
{{- end }}

{{/* (list . "api-url"): environment that leads to the queue. */}}
{{- define "iris.redisEnv" -}}
{{- $root := index . 0 -}}
- name: IRIS_REDIS_URL
  valueFrom:
    secretKeyRef: {name: {{ include "iris.redisSecret" $root }}, key: {{ index . 1 }}}
{{- if $root.Values.redis.caSecret }}
- name: IRIS_REDIS_CA_FILE
  value: /etc/iris/redis-ca/ca.crt
{{- end }}
{{- end }}

{{/* (list . .Values.api true): volumes of a part; the last says whether it reads models. */}}
{{- define "iris.volumes" -}}
{{- $root := index . 0 -}}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- if and (index . 2) $root.Values.models.existingClaim }}
- name: models
  persistentVolumeClaim: {claimName: {{ $root.Values.models.existingClaim }}, readOnly: true}
{{- end }}
{{- if $root.Values.redis.caSecret }}
- name: redis-ca
  secret:
    secretName: {{ $root.Values.redis.caSecret }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- with (index . 1).extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "iris.volumeMounts" -}}
{{- $root := index . 0 -}}
- {name: tmp, mountPath: /tmp}
{{- if and (index . 2) $root.Values.models.existingClaim }}
- {name: models, mountPath: /app/models, readOnly: true}
{{- end }}
{{- if $root.Values.redis.caSecret }}
- {name: redis-ca, mountPath: /etc/iris/redis-ca, readOnly: true}
{{- end }}
{{- with (index . 1).extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Longest job that any IrisModel may ask for. The shorter of the API's and the worker's limit holds, and the worker's is
its model's: the API's is out of the way. */}}
{{- define "iris.longestJobSeconds" -}}86400{{- end }}

{{/* (list . "api" .Values.api.env): the life of a job, of all who take part in one alike; and a part that would have its own. */}}
{{- define "iris.jobEnv" -}}
{{- $jobs := (index . 0).Values.jobs -}}
{{- $env := dict "IRIS_JOB_ATTEMPTS" "attempts" "IRIS_JOB_DEADLINE_SECONDS" "deadlineSeconds" "IRIS_RESULT_TTL_SECONDS" "resultTtlSeconds" -}}
{{- $part := index . 1 -}}
{{- range $set := index . 2 }}
{{- with get $env $set.name }}
{{- fail (printf "%s.env sets %s for one part alone: set jobs.%s" $part $set.name .) }}
{{- end }}
{{- end }}
{{- range $name, $key := $env }}
- {name: {{ $name }}, value: {{ get $jobs $key | quote }}}
{{- end }}
{{- end }}

{{/* Resources of a worker: the memory beyond which it ends itself, as the operator reckons it (manifests.max_rss_bytes): three
quarters of the limit, 0 (never) without one. A quantity has a suffix or an exponent; schema and API server refuse others. */}}
{{- define "iris.maxRssBytes" -}}
{{- $factors := dict "n" 1e-9 "u" 1e-6 "m" 1e-3 "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18
  "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976 -}}
{{- $limit := toString ((.limits | default dict).memory | default 0) -}}
{{- $number := regexFind "^[+-]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?" $limit -}}
{{- $bytes := mulf $number (get $factors (trimPrefix $number $limit)) 0.75 -}}
{{- if gt $bytes 0.0 -}}
{{- printf "%.0f" (floor (maxf 1 (minf $bytes 1125899906842624))) -}}
{{- else -}}0{{- end -}}
{{- end }}

{{/* Not empty when `helm test` has something to ask, the bundled flowers, may ask it, and somebody will answer. */}}
{{- define "iris.tested" -}}
{{- if and .Values.model.enabled (ne (toString .Values.model.worker.replicas) "0") (eq .Values.model.name "iris") (ne .Values.api.auth.mode "tokenreview") -}}yes{{- end -}}
{{- end }}

{{/* Name of the Secret with the keys of callers; empty where they need none. */}}
{{- define "iris.apiKeysSecret" -}}
{{- if eq .Values.api.auth.mode "api-key" -}}
{{- required "api.auth.mode=api-key needs api.auth.apiKeysSecret, a Secret with the callers' keys" .Values.api.auth.apiKeysSecret -}}
{{- end -}}
{{- end }}
