#!lua
-- Enqueues the golden set as the API would enqueue a request, once. A failure is an answer: it is not tried again.
-- ARGV: queue, id, data, timeout, deadline seconds
local queue, id, data, timeout = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('EXISTS', 'rq:job:' .. id, 'iris:result:' .. id) > 0 then return 0 end
local now = tonumber(redis.call('TIME')[1])
redis.call('HSET', 'rq:job:' .. id, 'data', data, 'status', 'queued', 'origin', queue, 'description', 'predict',
  'timeout', timeout, 'result_ttl', 0, 'failure_ttl', 3600, 'retries_left', 1)
redis.call('ZADD', 'iris:pending', now + tonumber(ARGV[5]), id)
redis.call('RPUSH', 'rq:queue:' .. queue, id)
redis.call('SADD', 'rq:queues', 'rq:queue:' .. queue)
redis.call('SADD', 'iris:queues', queue)
redis.call('HINCRBY', 'iris:counts:' .. queue, 'accepted', 1)
return 1
