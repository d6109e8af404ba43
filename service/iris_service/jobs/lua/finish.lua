-- Publishes the answers of a batch and clears its bookkeeping.
-- KEYS: running, counts, worker
-- ARGV: execution id, result ttl, busy microseconds, latency bucket of the batch, then id, envelope for each job
-- Returns the ids whose answer came second and was not published
local running, counts, worker = KEYS[1], KEYS[2], KEYS[3]
local execution, ttl, busy_us = ARGV[1], ARGV[2], tonumber(ARGV[3])
local news, refused, jobs, ids, leases, done, failed = {}, {}, {}, {}, {}, 0, 0
for at = 5, #ARGV, 2 do
  local id, envelope = ARGV[at], ARGV[at + 1]
  local key = 'iris:result:' .. id
  if redis.call('SET', key, envelope, 'NX', 'EX', ttl) then
    -- a small answer goes along with its announcement: who waits for it need not ask for it
    news[#news + 1] = #envelope <= 1024 and id .. ' ' .. envelope or id
    if string.find(envelope, '"state":"error"', 1, true) then failed = failed + 1 else done = done + 1 end
  elseif redis.pcall('GET', key) ~= envelope then -- equal: our own earlier try, whose reply was lost
    refused[#refused + 1] = id
  end
  ids[#ids + 1] = id
  jobs[#jobs + 1] = 'rq:job:' .. id
  leases[#leases + 1] = id .. ':' .. execution
end
redis.call('DEL', unpack(jobs))
redis.call('ZREM', running, unpack(leases))
redis.call('ZREM', 'iris:pending', unpack(ids))
redis.call('HSET', worker, 'state', 'idle')
if #refused > 0 then redis.call('HINCRBY', counts, 'refused', #refused) end
if #news > 0 then
  if done > 0 then
    redis.call('HINCRBY', counts, 'done', done)
    redis.call('HINCRBY', counts, 'latency:' .. ARGV[4], done)
  end
  if failed > 0 then redis.call('HINCRBY', counts, 'error', failed) end
  redis.call('HINCRBY', counts, 'busy_us', busy_us)
  redis.call('HINCRBY', worker, 'successful_job_count', done)
  redis.call('HINCRBY', worker, 'failed_job_count', failed)
  redis.call('HINCRBYFLOAT', worker, 'total_working_time', busy_us / 1e6)
  redis.call('PUBLISH', 'iris:answered', table.concat(news, '\n'))
end
return refused
