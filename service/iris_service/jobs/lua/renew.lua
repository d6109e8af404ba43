-- Extends the leases of a batch that is still being worked on; entries recovery has taken away stay away.
-- KEYS: running   ARGV: lease seconds, then members
local ends = unix_now() + tonumber(ARGV[1])
local leases = {}
for at = 2, #ARGV do
  leases[#leases + 1] = ends
  leases[#leases + 1] = ARGV[at]
end
return redis.call('ZADD', KEYS[1], 'XX', 'CH', unpack(leases))
