-- Accepts jobs: ledger, job hash and queue in one atomic step, once per id.
-- A queue the operator has closed passes its jobs on, so that no API process has to know of it in time.
-- ARGV: queue, queue limit, deadline seconds, time stamp, timeout, retries, failure ttl, then id, data for each job
-- Returns one number a job: 1 accepted, 2 known already (an earlier try whose reply was lost), 0 the queue is full
local queue, stamp, timeout, retries, failure_ttl = open_queue(ARGV[1]), ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local waiting, counts = 'rq:queue:' .. queue, 'iris:counts:' .. queue
local room = tonumber(ARGV[2]) - redis.call('LLEN', waiting)
local deadline = tonumber(redis.call('TIME')[1]) + tonumber(ARGV[3])
local replies, ids, ledger = {}, {}, {}
for at = 8, #ARGV, 2 do
  local id = ARGV[at]
  if redis.call('EXISTS', 'rq:job:' .. id, 'iris:result:' .. id) > 0 then
    replies[#replies + 1] = 2
  elseif #ids >= room then
    replies[#replies + 1] = 0
  else
    redis.call('HSET', 'rq:job:' .. id, 'data', ARGV[at + 1], 'status', 'queued', 'origin', queue,
      'created_at', stamp, 'enqueued_at', stamp, 'description', 'predict', 'timeout', timeout,
      'result_ttl', 0, 'failure_ttl', failure_ttl, 'retries_left', retries)
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
