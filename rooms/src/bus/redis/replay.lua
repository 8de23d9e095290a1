-- Reads a page of the messages after an offset. Returns epoch, top, the offset before the oldest message that is known, and the messages:
-- offset, publication, offset, ..
-- KEYS: meta, stream
-- ARGV: run, ttl in ms, fresh epoch, the offset of the first message to read, age in ms of the history, bytes and messages of a page
local meta, stream = KEYS[1], KEYS[2]
local run, ttl, fresh, first, max_age = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local room, most = tonumber(ARGV[6]), tonumber(ARGV[7])
local epoch, top = head(meta, stream, fresh, run, ttl)
local time = redis.call('TIME')
local expired = time[1] * 1000 + math.floor(time[2] / 1000) - max_age
local function offset_of(entry) return tonumber(string.match(entry[1], '^%d+')) end
local function range(from, count)
  local entries = redis.pcall('XRANGE', stream, from, '+', 'COUNT', count)
  if entries.err then
    redis.call('DEL', stream)
    return {}
  end
  return entries
end
-- The oldest that has not expired.
local oldest = top
local from = '-'
while true do
  local entry = range(from, 1)[1]
  if not entry then break end
  if (tonumber(entry[2][2]) or 0) > expired then
    oldest = offset_of(entry) - 1
    break
  end
  redis.call('XDEL', stream, entry[1])
  redis.call('HINCRBY', meta, 'bytes', -#(entry[2][4] or ''))
end
local result = { epoch, top, oldest }
local next = first
while most > 0 and room > 0 do
  local entries = range(next .. '-0', 16)
  for _, entry in ipairs(entries) do
    if most > 0 and room > 0 then
      result[#result + 1] = offset_of(entry)
      result[#result + 1] = entry[2][4] or ''
      room = room - #(entry[2][4] or '')
      most = most - 1
    end
  end
  if #entries < 16 then break end
  next = string.format('%.0f', offset_of(entries[16]) + 1)
end
return result
