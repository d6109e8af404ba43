-- Answers a job whose deadline has passed; one that is running may still finish.
-- KEYS: running, counts   ARGV: id, result ttl, envelope
local running, counts = KEYS[1], KEYS[2]
local id = ARGV[1]
local deadline = redis.call('ZSCORE', 'iris:pending', id)
if not deadline or tonumber(deadline) > unix_now() then return 'alive' end
local job = read_job(id, 'execution')
if job and job[1] and redis.call('ZSCORE', running, id .. ':' .. job[1]) then return 'running' end
publish(id, ARGV[3], ARGV[2], counts, 'expired')
forget(id) -- its id may still be on the queue: a claim passes over ids without a job
return 'expired'
