-- Returns the job of a lease that has ended to its queue, or ends it when its attempts are used up.
-- KEYS: running, counts
-- ARGV: member (job id:execution id), full retries, result ttl, envelope for the lost, envelope for the unreadable, queue
-- Returns what was done, one word
local running, counts = KEYS[1], KEYS[2]
local member, full, ttl = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local ends = redis.call('ZSCORE', running, member)
if not ends or tonumber(ends) > unix_now() then return 'alive' end
local id, execution = string.match(member, '^(.-):(.+)$')
if not id then
  redis.call('ZREM', running, member)
  return 'stale'
end
if not redis.call('ZSCORE', 'iris:pending', id) then
  if redis.call('EXISTS', 'iris:result:' .. id) == 0 then return 'foreign' end -- RQ's own cleanup knows what to do
  redis.call('ZREM', running, member)
  return 'answered'
end
redis.call('ZREM', running, member)
local job = read_job(id, 'data', 'retries_left', 'execution')
local retries = job and job[1] and tonumber(job[2] or 0)
if not retries then
  quarantine(id, ARGV[5], ttl, counts)
  return 'quarantined'
end
if job[3] ~= execution then return 'stale' end
if retries < 1 then
  publish(id, ARGV[4], ttl, counts, 'error')
  forget(id)
  return 'lost'
end
redis.call('HSET', 'rq:job:' .. id, 'retries_left', retries - 1)
-- the first time to the front, for it has waited; later to the back, for it may be what kills its workers
requeue(id, ARGV[6], retries >= full and 'LPUSH' or 'RPUSH')
redis.call('HINCRBY', counts, 'recovered', 1)
return 'requeued'
