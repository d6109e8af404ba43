-- Shared by every script that ends, returns or sets aside a job. All times are Redis' own clock.
local function unix_now()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1e6
end

-- Writes an envelope unless there is one: the first writer wins. Returns whether this one was published.
local function publish(id, envelope, ttl, counts, outcome)
  if not redis.call('SET', 'iris:result:' .. id, envelope, 'NX', 'EX', ttl) then return false end
  redis.call('HINCRBY', counts, outcome, 1)
  redis.call('PUBLISH', 'iris:answered', id)
  return true
end

local function forget(id)
  redis.call('DEL', 'rq:job:' .. id)
  redis.call('ZREM', 'iris:pending', id)
end

-- Moves what cannot be read out of everybody's way; the caller of an accepted job still gets an answer.
local function quarantine(id, envelope, ttl, counts)
  redis.pcall('RENAME', 'rq:job:' .. id, 'iris:dead:' .. id)
  redis.call('EXPIRE', 'iris:dead:' .. id, 86400)
  redis.call('HINCRBY', counts, 'quarantined', 1)
  if redis.call('ZREM', 'iris:pending', id) == 1 then publish(id, envelope, ttl, counts, 'error') end
end

-- Fields of a job's hash, or nil when it is unreadable; absent fields are false.
local function read_job(id, ...)
  local fields = redis.pcall('HMGET', 'rq:job:' .. id, ...)
  if fields.err then return nil end
  return fields
end

-- The queue that takes the jobs of `queue` now: itself, or where the operator has sent them when it closed it.
local function open_queue(queue)
  for _ = 1, 8 do
    local other = redis.pcall('GET', 'iris:redirect:' .. queue)
    if type(other) ~= 'string' then break end -- none, or somebody wrote something else there
    queue = other
  end
  return queue
end

-- Puts a job back on the queue that takes its kind now.
local function requeue(id, queue, command)
  local open = open_queue(queue)
  redis.call('HSET', 'rq:job:' .. id, 'status', 'queued', 'origin', open)
  redis.call('HDEL', 'rq:job:' .. id, 'execution')
  redis.call(command, 'rq:queue:' .. open, id)
end
