-- Quarantines one job that Python could not read or find; one that was answered or cancelled is only taken off.
-- KEYS: intermediate, counts   ARGV: id, envelope, result ttl
redis.call('LREM', KEYS[1], 1, ARGV[1])
if redis.call('EXISTS', 'rq:job:' .. ARGV[1]) == 1 or redis.call('ZSCORE', 'iris:pending', ARGV[1]) then
  quarantine(ARGV[1], ARGV[2], ARGV[3], KEYS[2])
end
