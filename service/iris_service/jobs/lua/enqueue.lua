-- Accepts jobs: ledger, job hash and queue in one atomic step, once per id.
-- A queue the operator has closed passes its jobs on, so that no API process has to know of it in time.
-- ARGV: queue, queue limit, deadline seconds, time stamp, timeout, retries, failure ttl, fingerprint ttl,
--       then for each job: id, data, fingerprint (empty unless its id comes from an idempotency key)
-- Returns one number a job: 1 accepted, 2 known already (an earlier try whose reply was lost, or the same key again),
-- 3 known, but for another request, 0 the queue is full
local queue, stamp, timeout, retries, failure_ttl = open_queue(ARGV[1]), ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local waiting, counts = 'rq:queue:' .. queue, 'iris:counts:' .. queue
local room = tonumber(ARGV[2]) - redis.call('LLEN', waiting)
local deadline = tonumber(redis.call('TIME')[1]) + tonumber(ARGV[3])
local replies, ids, ledger = {}, {}, {}

-- Whether the key was used for something else. A job whose fingerprint is gone cannot be told from that.
local function is_taken(id, fingerprint, known)
  if fingerprint == '' then return false end
  local before = redis.pcall('GET', 'iris:fingerprint:' .. id)
  return before ~= fingerprint and (before or known)
end

for at = 9, #ARGV, 3 do
  local id, fingerprint = ARGV[at], ARGV[at + 2]
  local known = redis.call('EXISTS', 'rq:job:' .. id, 'iris:result:' .. id) > 0
  if is_taken(id, fingerprint, known) then
    replies[#replies + 1] = 3
  elseif known then
    replies[#replies + 1] = 2
  elseif #ids >= room then
    replies[#replies + 1] = 0
  else
    redis.call('HSET', 'rq:job:' .. id, 'data', ARGV[at + 1], 'status', 'queued', 'origin', queue,
      'created_at', stamp, 'enqueued_at', stamp, 'description', 'predict', 'timeout', timeout,
      'result_ttl', 0, 'failure_ttl', failure_ttl, 'retries_left', retries)
    if fingerprint ~= '' then redis.call('SET', 'iris:fingerprint:' .. id, fingerprint, 'EX', ARGV[8]) end
    ids[#ids + 1] = id
    ledger[#ledger + 1] = deadline
    ledger[#ledger + 1] = id
    replies[#replies + 1] = 1
  end
end
if #ids > 0 then
  redis.call('ZADD', 'iris:pending', unpack(ledger))
  redis.call('RPUSH', waiting, unpack(ids))
  redis.call('SADD', 'rq:queues', waiting)
  redis.call('SADD', 'iris:queues', queue)
  redis.call('HINCRBY', counts, 'accepted', #ids)
end
return replies
