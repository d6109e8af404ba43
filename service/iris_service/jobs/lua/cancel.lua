-- Ends jobs because their callers say so: envelope, ledger, job and place on the list, in one step.
-- A job that a worker has taken runs on; its answer comes second and is refused. One on its way between list and claim
-- is passed over there. Written with RENAMENX: the API's user may put an answer where there is none, and change none;
-- nor may it announce any, so that callers of other API processes learn of it at their second look.
-- ARGV: result ttl, envelope without model and version, then the ids
-- Returns one reply a job: 1 cancelled, 0 no such job, or the envelope that was there before
local replies = {}
for at = 3, #ARGV do
  local id = ARGV[at]
  local answer = redis.pcall('GET', 'iris:result:' .. id)
  if type(answer) == 'string' then
    replies[#replies + 1] = answer
  elseif answer or redis.call('ZREM', 'iris:pending', id) == 0 then
    replies[#replies + 1] = 0
  else
    local queue = redis.pcall('HGET', 'rq:job:' .. id, 'origin')
    if type(queue) ~= 'string' or not string.find(queue, '@', 1, true) then queue = 'unknown@unknown' end
    local envelope = cjson.decode(ARGV[2])
    envelope.model, envelope.version = string.match(queue, '^(.-)@(.*)$')
    redis.call('SET', 'iris:draft:' .. id, cjson.encode(envelope), 'EX', ARGV[1])
    redis.call('RENAMENX', 'iris:draft:' .. id, 'iris:result:' .. id)
    redis.call('DEL', 'rq:job:' .. id)
    redis.call('LREM', 'rq:queue:' .. queue, -1, id) -- from the end: what is cancelled was mostly sent just now
    redis.call('HINCRBY', 'iris:counts:' .. queue, 'cancelled', 1)
    replies[#replies + 1] = 1
  end
end
return replies
