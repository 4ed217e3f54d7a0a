-- One round trip of one host about one tenant: report use, renew, ask for units, set, read, leave.
--
-- KEYS: the tenant's hash, the mark of this server's life. ARGV: a request, packed by msgpack.
-- What is counted against a limit is
--   base        use of hosts that have left, or what set_level said
-- + reported    what each host has said it used; absolute, so that a request may be sent twice
-- + out         what each host may have used since, or may still use
-- What is out stays counted when its host falls silent, for it may have been used.
local LEVEL, DAY, MONTH, RATE = 1, 2, 3, 4
local KIND = {LEVEL, LEVEL, LEVEL, LEVEL, DAY, DAY, MONTH, RATE, RATE}
local RANGE = {2^48 - 1, 2^36 - 1, 2^40 - 1, 2^40}
local PERIOD_US = {[8] = 60e6, [9] = 1e6}
local DAY_US = 86400e6

local req = cmsgpack.unpack(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1e6 + time[2]

-- A server that restarts may have lost its newest data, or all of it, so its leases are not
-- trusted: it gives none until those from before have passed, and hosts report meanwhile.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local mark = redis.call('HMGET', KEYS[2], 'run', 'since', 'lease')
local lease = math.max(tonumber(mark[3]) or 0, req.lease)
local since = tonumber(mark[2])
local begins = mark[1] ~= run or since > now -- a clock that stepped back ends a life, too
if begins then since = now end
if begins or tonumber(mark[3]) ~= lease then
  redis.call('HSET', KEYS[2], 'run', run, 'since', string.format('%.0f', since),
             'lease', string.format('%.0f', lease))
end
-- A host that is silent for so long has died: all that it may have used is used.
local forget = 10 * lease
local epoch = run .. string.format('%.0f', since)
local recovering = since + lease - now

-- Days since 1970 to months since then, after Hinnant's civil_from_days.
local function month_of(days)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524)
                          - math.floor(doe / 146096)) / 365)
  local mp = math.floor((5 * (doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))) + 2)
                        / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return (year - 1970) * 12 + month - 1
end

local today = math.floor(now / DAY_US)
local function period_of(kind, day)
  if kind == DAY then return day end
  return month_of(day)
end

local state, hosts = nil, {}
local stored = redis.call('HGETALL', KEYS[1])
for i = 1, #stored, 2 do
  local value = cmsgpack.unpack(stored[i + 1])
  if stored[i] == 'state' then state = value else hosts[stored[i]] = value end
end
if not state then
  state = {}
  for q = 1, 9 do
    -- gen: of a level, how often it was set; of a window, its period. debt: of a rate, in ns at `at`.
    -- known: whether its limit was ever set.
    state[q] = {gen = 0, base = 0, limit = -1, soft = false, known = false, debt = 0, at = 0}
  end
end

local function save(name)
  redis.call('HSET', KEYS[1], name, cmsgpack.pack(name == 'state' and state or hosts[name]))
end

local function interval(q)
  return math.ceil(PERIOD_US[q] * 1000 / state[q].limit)
end

local function owe(q, units, at)
  local s = state[q]
  if s.limit <= 0 then s.debt, s.at = 0, at return end
  local debt = math.max(s.debt - math.max(at - s.at, 0) * 1000, 0) + units * interval(q)
  s.debt = math.max(math.min(debt, s.limit * interval(q)), 0)
  s.at = math.max(at, s.at)
end

local function set_limit(q, limit, soft)
  local s = state[q]
  if KIND[q] == RATE and s.limit <= 0 and limit > 0 then
    -- What was used before the server's life began isn't known, so all of it may have been.
    s.debt, s.at = limit * math.ceil(PERIOD_US[q] * 1000 / limit), since
  end
  s.limit, s.soft, s.known = limit, soft, true
end

for q = 1, 9 do
  local s = state[q]
  if KIND[q] == DAY or KIND[q] == MONTH then
    local period = period_of(KIND[q], today)
    -- A server whose clock steps back opens nothing.
    if period > s.gen then s.gen, s.base = period, 0 end
  elseif KIND[q] == RATE and s.limit > 0 then
    if s.at < since then s.debt, s.at = s.limit * interval(q), since end
    s.at = math.min(s.at, now)
  end
end

for name, host in pairs(hosts) do
  if host.exp < now and name ~= req.host then
    for q = 8, 9 do -- what may have been used of a rate comes back with time
      local part = host[q]
      if part.out > 0 then
        owe(q, part.out, host.exp)
        part.out = 0
        save(name)
      end
    end
    -- After a restart the others come back first.
    if host.exp + forget < now and since + forget < now then
      for q = 1, 7 do
        if host[q].gen == state[q].gen then
          state[q].base = state[q].base + host[q].rep + host[q].out
        end
      end
      hosts[name] = nil
      redis.call('HDEL', KEYS[1], name)
    end
  end
end

local me = hosts[req.host]
local lost = req.epoch ~= '' and req.epoch ~= epoch
-- A request that changes nothing itself keeps what was counted for hosts that have died.
local function turn_away(status)
  save('state')
  return cmsgpack.pack({status = status})
end
if me and req.seq < me.seq then return turn_away('stale') end
if not me then
  if req.epoch == epoch then return turn_away('forgotten') end
  me = {}
  for q = 1, 9 do me[q] = {gen = -1, rep = 0, out = 0, oldgen = -1, oldrep = 0} end
  if lost then
    for q = 8, 9 do me[q].rep = req.parts[q][2] end -- rates begin with all used
  end
  hosts[req.host] = me
end
me.seq, me.exp = req.seq, now + req.lease

for q = 1, 9 do
  local s, part = state[q], me[q]
  local gen, used, keep, base, _, _, _, limit, soft = unpack(req.parts[q])
  if lost and not s.known then set_limit(q, limit, soft) end
  if KIND[q] == RATE then
    owe(q, used - part.rep, now)
    part.gen, part.rep, part.out = s.gen, used, keep
  else
    if lost and gen > s.gen and KIND[q] == LEVEL then
      s.gen, s.base = gen, base
    elseif lost and gen == s.gen then
      s.base = math.max(s.base, base)
    end
    if gen == s.gen or req.epoch == '' then
      part.gen, part.rep, part.out = s.gen, used, keep
    elseif KIND[q] == LEVEL then
      -- The level was set meanwhile. Whether that included this use isn't known: count it.
      local before = 0
      if part.gen == gen then before = part.rep elseif part.oldgen == gen then before = part.oldrep end
      s.base = s.base + used - before
      me[q] = {gen = s.gen, rep = 0, out = keep, oldgen = gen, oldrep = used}
    else
      part.gen, part.rep, part.out = s.gen, 0, 0
    end
  end
end

for _, one in ipairs(req.limits) do
  set_limit(unpack(one))
end

for _, one in ipairs(req.levels) do
  local q, s = one[1], state[one[1]]
  local part = me[q]
  s.gen, s.base = s.gen + 1, one[2]
  me[q] = {gen = s.gen, rep = 0, out = part.out, oldgen = part.gen, oldrep = part.rep}
end

-- Use of a quota, and leases with it.
local function total(q)
  local s = state[q]
  local sum = s.base
  for _, host in pairs(hosts) do
    local part = host[q]
    local here = 0
    if part.gen == s.gen then
      here = part.rep + part.out
      if KIND[q] == RATE then here = part.out end
    elseif KIND[q] == LEVEL and host.exp >= now then
      here = part.out
    end
    sum = sum + here
  end
  if sum < 0 then s.base, sum = s.base - sum, 0 end -- more was given back than was used
  if KIND[q] == RATE and s.limit > 0 then
    owe(q, 0, now)
    sum = sum + math.ceil(s.debt / interval(q))
  end
  return sum
end

local function room(q)
  local s = state[q]
  if s.limit < 0 or s.soft then return RANGE[KIND[q]] end
  return math.min(s.limit, RANGE[KIND[q]])
end

-- Microseconds until the period of a window ends.
local function left(q)
  if KIND[q] == DAY then return (state[q].gen + 1) * DAY_US - now end
  local day = today
  repeat day = day + 1 until month_of(day) > state[q].gen
  return day * DAY_US - now
end

local function retry(q, sum, want, asked)
  if asked > room(q) then return -1 end
  if KIND[q] == DAY or KIND[q] == MONTH then return left(q) end
  if KIND[q] == LEVEL then return -1 end
  local debt = state[q].debt
  local free = room(q) - want - (sum - math.ceil(debt / interval(q)))
  return math.ceil((debt - free * interval(q)) / 1000)
end

local status, refusal, asks = 'ok', {}, false
local sums = {}
for q = 1, 9 do
  sums[q] = total(q)
  local want, asked = req.parts[q][5], req.parts[q][6]
  if want > 0 then
    asks = true
    local over = sums[q] + want > room(q)
    if KIND[q] == RATE and state[q].soft then over = false end
    if over and status == 'ok' then
      status = 'refused'
      refusal = {q, room(q), sums[q], retry(q, sums[q], want, asked)}
    end
  end
end
if asks and recovering > 0 then status = 'recovering' end

local parts = {}
for q = 1, 9 do
  local s, want, extra = state[q], req.parts[q][5], req.parts[q][7]
  local granted = 0
  if status == 'ok' and want > 0 then
    -- The nearer the limit, the fewer units may lie idle on a host that others would need.
    local spare = math.max(math.floor((room(q) - sums[q] - want) / 4), 0)
    granted = want + math.min(extra, spare)
    me[q].out = me[q].out + granted
    sums[q] = sums[q] + granted
  end
  local window = KIND[q] == DAY or KIND[q] == MONTH
  parts[q] = {s.gen, granted, s.base, sums[q], s.limit, s.soft,
              window and left(q) or -1}
end

if req.bye then
  for q = 1, 7 do
    if me[q].gen == state[q].gen then state[q].base = state[q].base + me[q].rep end
  end
  hosts[req.host] = nil
  redis.call('HDEL', KEYS[1], req.host)
else
  save(req.host)
end
save('state')
return cmsgpack.pack({status = status, epoch = epoch, parts = parts, refusal = refusal,
                      recovering = math.max(recovering, 0)})
