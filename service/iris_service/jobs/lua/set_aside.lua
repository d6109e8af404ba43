-- Quarantines one job that Python could not read.
-- KEYS: intermediate, counts   ARGV: id, envelope, result ttl
redis.call('LREM', KEYS[1], 1, ARGV[1])
quarantine(ARGV[1], ARGV[2], ARGV[3], KEYS[2])
