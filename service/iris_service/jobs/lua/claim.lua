-- Takes a batch: the job RQ's blocking move has brought, and up to limit - 1 more of the same task.
-- A job that has lost a worker before runs alone, so that what kills workers takes no other job down twice.
-- KEYS: waiting, intermediate, running, counts, worker
-- ARGV: first id, limit, task prefix, full retries, execution id, worker name, lease seconds, time stamp,
--       envelope for the unreadable, result ttl
-- Returns id, data, timeout, retries left for each job taken
local waiting, intermediate, running, counts, worker = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local first, limit, prefix, full = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local execution, name, stamp, unreadable, ttl = ARGV[5], ARGV[6], ARGV[8], ARGV[9], ARGV[10]
local lease_ends = unix_now() + tonumber(ARGV[7])
local taken, leases, alone = {}, {}, false

-- Returns false when the job must not join this batch and stays where it is.
local function take(id, is_first)
  local job = read_job(id, 'data', 'timeout', 'retries_left')
  local retries = job and tonumber(job[3] or 0)
  local timeout = job and tonumber(job[2] or 0)
  if not job or not retries or not timeout then
    quarantine(id, unreadable, ttl, counts)
    return true
  end
  if not job[1] then
    if redis.call('ZSCORE', 'iris:pending', id) then quarantine(id, unreadable, ttl, counts) end
    return true -- answered or cancelled, or else lost for good
  end
  if not is_first then
    if string.sub(job[1], 1, #prefix) ~= prefix or retries < full then return false end
  end
  alone = alone or retries < full
  redis.call('HSET', 'rq:job:' .. id, 'status', 'started', 'started_at', stamp, 'last_heartbeat', stamp,
    'worker_name', name, 'execution', execution)
  leases[#leases + 1] = lease_ends
  leases[#leases + 1] = id .. ':' .. execution
  taken[#taken + 1] = id
  taken[#taken + 1] = job[1]
  taken[#taken + 1] = timeout
  taken[#taken + 1] = retries
  return true
end

-- not ours any more when recovery has found it stranded meanwhile
if redis.call('LREM', intermediate, 1, first) == 1 then take(first, true) end
if #taken > 0 and not alone and limit > 1 then
  local consumed = 0
  for _, id in ipairs(redis.call('LRANGE', waiting, 0, limit - 2)) do
    if not take(id, false) then break end
    consumed = consumed + 1
  end
  if consumed > 0 then redis.call('LPOP', waiting, consumed) end
end
if #leases > 0 then
  redis.call('ZADD', running, unpack(leases))
  redis.call('HSET', worker, 'state', 'busy')
end
return taken
