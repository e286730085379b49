{{/* What the operator does with objects of the API, and nothing else: a test compares this with what its code asks for. */}}
{{- define "velodrome.operatorRules" -}}
rules:
  # It watches BenchmarkJobs. It makes and deletes those that confirm a regression, where spec.regression.confirm asks.
  - {apiGroups: [velodrome.dev], resources: [benchmarkjobs], verbs: [list, watch, create, delete]}
  - {apiGroups: [velodrome.dev], resources: [benchmarkjobs/status], verbs: [update]}
  # Trials are Jobs. `patch` sets how many trials run at once, and suspends.
  - {apiGroups: [batch], resources: [jobs], verbs: [list, watch, create, patch, delete]}
  # It sees what becomes of runners. It makes no pods.
  - {apiGroups: [""], resources: [pods], verbs: [list, watch]}
  # It makes these for a race and never reads them: everything that it needs to know follows from the BenchmarkJob.
  - {apiGroups: [""], resources: [configmaps, secrets, services], verbs: [create]}
  # It tells what happened to a BenchmarkJob.
  - {apiGroups: [events.k8s.io], resources: [events], verbs: [create]}
  # Only an Event says why a Job gets no pod, for example because of a quota.
  - {apiGroups: [""], resources: [events], verbs: [list]}
{{- end -}}
