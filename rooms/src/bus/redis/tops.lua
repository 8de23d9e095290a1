-- Returns the epoch and the top of each room, and keeps it for another while.
-- KEYS: meta, stream, meta, stream, ..
-- ARGV: run, ttl in ms, a fresh epoch for each
local result = {}
for i = 1, #KEYS / 2 do
  local meta = KEYS[2 * i - 1]
  local epoch, top = head(meta, KEYS[2 * i], ARGV[2 + i], ARGV[1], ARGV[2])
  redis.call('PEXPIRE', meta, ARGV[2], 'GT')
  result[2 * i - 1], result[2 * i] = epoch, top
end
return result
