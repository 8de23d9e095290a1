-- Shared by all scripts: the epoch and the top of a room. A room that is not known, or that was written to by another run of the
-- server, which may have lost its last messages, begins anew.
local function head(meta, stream, fresh, run, ttl)
  local known = redis.pcall('HMGET', meta, 'epoch', 'top', 'run')
  if not known.err and known[1] and known[2] and known[3] == run then
    local top = tonumber(known[2])
    if top and #known[1] <= 16 and string.match(known[1], '^%x+$') then
      return known[1], top
    end
  end
  redis.call('DEL', meta, stream)
  redis.call('HSET', meta, 'epoch', fresh, 'top', '0', 'bytes', '0', 'run', run)
  redis.call('PEXPIRE', meta, ttl)
  return fresh, 0
end
