-- Puts a job back that is in the ledger and seemed to be nowhere; looks again first, for it may have moved meanwhile.
-- KEYS: waiting, intermediate, running, counts
-- ARGV: id, result ttl, envelope for the unreadable, whether it lies stranded on the intermediate list (1 or 0), queue
local waiting, intermediate, running, counts = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, ttl, stranded = ARGV[1], ARGV[2], ARGV[4] == '1'
if stranded and redis.call('LREM', intermediate, 1, id) == 0 then return 'moved' end
if redis.call('EXISTS', 'iris:result:' .. id) == 1 then
  forget(id)
  return 'answered'
end
local job = read_job(id, 'data', 'execution')
if job and not job[1] and not redis.call('ZSCORE', 'iris:pending', id) then
  return 'answered' -- or cancelled, so long ago that the envelope has expired
end
if not job or not job[1] then
  quarantine(id, ARGV[3], ttl, counts)
  return 'quarantined'
end
if job[2] and redis.call('ZSCORE', running, id .. ':' .. job[2]) then return 'running' end
if redis.call('LPOS', waiting, id) or (not stranded and redis.call('LPOS', intermediate, id)) then return 'waiting' end
requeue(id, ARGV[5], 'LPUSH')
redis.call('HINCRBY', counts, 'recovered', 1)
return 'requeued'
