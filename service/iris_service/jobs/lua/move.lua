-- RQ's move without its blocking: BLMOVE is refused when Redis is out of memory, and then nothing would ever drain.
-- KEYS: waiting, intermediate
return redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT')
