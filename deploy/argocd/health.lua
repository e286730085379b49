-- The health of a BenchmarkJob, for Argo CD: from the status conditions that the operator writes.
local health = {status = "Progressing", message = "the operator has not looked at it yet"}
if obj.status == nil or obj.status.conditions == nil then
  return health
end
-- A status of an older spec says nothing about this one.
if obj.status.observedGeneration ~= nil and obj.metadata.generation ~= nil
    and obj.status.observedGeneration < obj.metadata.generation then
  health.message = "the operator has not looked at this version of it yet"
  return health
end
local held = {}
for _, condition in ipairs(obj.status.conditions) do
  if condition.status == "True" then
    held[condition.type] = condition.message or ""
  end
end
health.message = obj.status.message or "it runs"
if held.Failed ~= nil then
  health.status = "Degraded"
  health.message = held.Failed
elseif held.Complete ~= nil then
  health.status = "Healthy"
  health.message = held.Complete
  -- A race that found a regression did what it should. The alert is for the regression.
  if held.Regressed ~= nil then
    health.message = health.message .. "; regressed: " .. held.Regressed
  end
elseif held.Suspended ~= nil then
  health.status = "Suspended"
  health.message = held.Suspended
end
return health
