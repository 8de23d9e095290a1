-- Appends a message and sends it to all servers. Returns its epoch and offset.
-- KEYS: meta, stream, idempotency key (or meta)
-- ARGV: run, ttl in ms, fresh epoch, channel, publication, count, bytes and age in ms of the history, ttl of the idempotency key or ''
local meta, stream, once = KEYS[1], KEYS[2], KEYS[3]
local run, ttl, fresh, channel, publication = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local count, max_bytes, max_age, once_ttl = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8], ARGV[9]
if once_ttl ~= '' then
  local known = redis.pcall('GET', once)
  if type(known) == 'string' then
    local epoch, offset = string.match(known, '^(%x+)%.(%d+)$')
    if epoch then return { epoch, tonumber(offset) } end
  end
end
local epoch = head(meta, stream, fresh, run, ttl)
local offset = redis.call('HINCRBY', meta, 'top', 1)
local text = string.format('%.0f', offset)
if count > 0 then
  local time = redis.call('TIME')
  local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  local added = redis.pcall('XADD', stream, text .. '-0', 't', now, 'p', publication)
  if type(added) == 'table' and added.err then
    -- Something else has taken its place: the history begins here.
    redis.call('DEL', stream)
    redis.call('XADD', stream, text .. '-0', 't', now, 'p', publication)
  end
  local len = redis.call('XLEN', stream)
  -- The stream may have expired with all its bytes.
  if len == 1 then redis.call('HSET', meta, 'bytes', '0') end
  local bytes = redis.call('HINCRBY', meta, 'bytes', #publication)
  local evicted = 0
  while len > 0 and (len > count or bytes - evicted > max_bytes) do
    local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    redis.call('XDEL', stream, oldest[1])
    evicted = evicted + #(oldest[2][4] or '')
    len = len - 1
  end
  if evicted > 0 then redis.call('HINCRBY', meta, 'bytes', -evicted) end
  redis.call('PEXPIRE', stream, max_age)
end
redis.call('PEXPIRE', meta, ttl)
if once_ttl ~= '' then redis.call('SET', once, epoch .. '.' .. text, 'PX', once_ttl) end
redis.call('PUBLISH', channel, 'i' .. epoch .. '.' .. text .. ' ' .. publication)
return { epoch, offset }
