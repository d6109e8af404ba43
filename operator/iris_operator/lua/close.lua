#!lua
-- Closes a queue: from here on its jobs, those that wait and those that still come, belong to another one.
-- ARGV: queue, the queue that takes over     Returns how many jobs moved
local from, to = ARGV[1], ARGV[2]
redis.call('SET', 'iris:redirect:' .. from, to)
if redis.call('GET', 'iris:redirect:' .. to) == from then redis.call('DEL', 'iris:redirect:' .. to) end
local moved = 0
local ids = redis.call('LRANGE', 'rq:queue:' .. from, 0, -1)
for _, id in ipairs(ids) do
  -- an id may outlive its job on the list: writing to that would leave half a job behind for good
  if redis.call('EXISTS', 'rq:job:' .. id) == 1 then redis.pcall('HSET', 'rq:job:' .. id, 'origin', to) end
  redis.call('RPUSH', 'rq:queue:' .. to, id)
  moved = moved + 1
end
if moved > 0 then
  redis.call('DEL', 'rq:queue:' .. from)
  redis.call('SADD', 'rq:queues', 'rq:queue:' .. to)
  redis.call('SADD', 'iris:queues', to)
end
return moved
