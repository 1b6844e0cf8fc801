-- What a plain evaluation does: each operator written with matrix products and elementwise passes of the
-- core, every N x M matrix stored, the way a model file in an eager framework has it. Only for comparison:
-- `rapt bench --eager` times it beside the operator.
--
-- eager.prepare(name, inputs, attrs) makes what a model would keep between calls (masks, positions) and
-- returns a function that computes the output. Inputs are float32 on the CPU; a matrix that is used up is
-- given back at once, as reference counting would.

local eager = {}

local definitions = {}

-- --- Parts -------------------------------------------------------------------------------------

-- result, after its input has been given back
local function replace(old, result)
  old:close()
  return result
end

-- Positions 0, 1 ... as a column and as a row, float32.
local function positions(rapt, n, m)
  local all = rapt.arange(0, math.max(n, m)):to("f32")
  return all:narrow(1, 1, n):reshape(n, 1), all:narrow(1, 1, m):reshape(1, m)
end

-- What the causal mask adds to scores: 0 where query i sees key j <= i + m - n, -inf elsewhere.
local function hidden(rapt, n, m)
  local row, column = positions(rapt, n, m)
  local seen = column:le(row + (m - n))
  return rapt.zeros(n, m):masked_fill(seen:eq(false), -math.huge)
end

-- 1 where a query sees a key, 0 elsewhere.
local function visible(rapt, n, m)
  local row, column = positions(rapt, n, m)
  return column:le(row + (m - n)):to("f32")
end

-- Key/value heads repeated for the query heads that share them.
local function repeated(x, heads)
  local b, g, n, d = table.unpack(x.shape)
  if g == heads then return x end
  return x:reshape(b, g, 1, n, d):expand(b, g, heads // g, n, d):reshape(b, heads, n, d)
end

local function scale_of(inputs, attrs) return attrs.scale or 1 / math.sqrt(inputs.q.shape[4]) end

-- scale q k^T, and k's heads for all heads of q
local function scores(rapt, q, k, scale)
  local s = rapt.matmul(q, repeated(k, q.shape[2]), { transpose_b = true })
  return replace(s, s * scale)
end

local function add(x, term)
  return term and replace(x, x + term) or x
end

-- softmax over keys, in a matrix of its own
local function softmax(x) return replace(x, x:softmax(-1)) end

local function apply(rapt, weights, v)
  return replace(weights, rapt.matmul(weights, repeated(v, weights.shape[2])))
end

local function mask_of(rapt, inputs, attrs)
  return attrs.causal and hidden(rapt, inputs.q.shape[3], inputs.k.shape[3]) or nil
end

-- All of a list, one after the other along `dim`; core.cat takes a few at a time.
local function join(rapt, parts, dim)
  while #parts > 1 do
    local joined = {}
    for i = 1, #parts, 8 do
      local group = { table.unpack(parts, i, math.min(i + 7, #parts)) }
      local whole = group[1]
      if #group > 1 then
        group[#group + 1] = { dim = dim }
        whole = rapt.cat(table.unpack(group))
        for k = 1, #group - 1 do group[k]:close() end
      end
      joined[#joined + 1] = whole
    end
    parts = joined
  end
  return parts[1]
end

-- --- The score family --------------------------------------------------------------------------

function definitions.softmax(rapt, inputs, attrs)
  local mask, scale = mask_of(rapt, inputs, attrs), scale_of(inputs, attrs)
  return function()
    local s = add(add(scores(rapt, inputs.q, inputs.k, scale), inputs.bias), mask)
    return apply(rapt, softmax(s), inputs.v)
  end
end

function definitions.cog(rapt, inputs, attrs)
  local mask, scale = mask_of(rapt, inputs, attrs), scale_of(inputs, attrs)
  return function()
    local s = scores(rapt, inputs.q, inputs.k, scale)
    local size = s:abs()
    local bounded = rapt.maximum(size, 1e-30)
    local sign = replace(bounded, s / bounded)
    s:close()
    local p = softmax(add(size, mask))
    local w = replace(p, p * sign)
    sign:close()
    return apply(rapt, w, inputs.v)
  end
end

function definitions.ssa(rapt, inputs, attrs)
  local mask, scale = mask_of(rapt, inputs, attrs), scale_of(inputs, attrs)
  local function column(x) return x:reshape(x.shape[1], x.shape[2], x.shape[3], 1) end
  return function()
    local q = inputs.tau_q and inputs.q * column(inputs.tau_q) or inputs.q
    local v = repeated(inputs.v, q.shape[2])
    if inputs.tau_v then v = v * repeated(column(inputs.tau_v), q.shape[2]) end
    return apply(rapt, softmax(add(scores(rapt, q, inputs.k, scale), mask)), v)
  end
end

-- The convolution of mta, as products with banded matrices: the part of a kernel row that lies over
-- TILE keys, for each row of the kernel.
local TILE = 64

-- [H, width + ck - 1, width]: column j holds the kernel's row from j on. Rows of one element more,
-- read without regard to where they end, move on by one each time.
local function band(rapt, row, width)
  local heads, ck = row.shape[1], row.shape[2]
  local height = width + ck - 1
  local line = rapt.cat(row, rapt.zeros(heads, width), { dim = 2 })
  local all = line:reshape(heads, 1, height + 1):expand(heads, width, height + 1)
  return all:reshape(heads, width * (height + 1)):narrow(2, 1, width * height)
    :reshape(heads, width, height):transpose(2, 3):contiguous()
end

local function bands_of(rapt, kernel, m)
  local cq, ck = kernel.shape[2], kernel.shape[3]
  local bands = { whole = {}, last = {}, cq = cq, half = (ck - 1) // 2, ck = ck, rest = m % TILE }
  for a = 1, cq do
    local row = kernel:narrow(2, a, 1):reshape(kernel.shape[1], ck)
    if m >= TILE then bands.whole[a] = band(rapt, row, TILE) end
    if bands.rest > 0 then bands.last[a] = band(rapt, row, bands.rest) end
  end
  return bands
end

-- out[i, j] = sum of kernel[a, b] x[i - (cq - 1) + a, j - half + b] over positions of x, zero outside
local function convolve(rapt, x, bands)
  local b, h, n, m = table.unpack(x.shape)
  local padded = rapt.cat(rapt.zeros(b, h, n, bands.half), x, rapt.zeros(b, h, n, bands.half), { dim = 4 })
  if bands.cq > 1 then
    padded = replace(padded, rapt.cat(rapt.zeros(b, h, bands.cq - 1, m + 2 * bands.half), padded,
      { dim = 3 }))
  end
  local tiles = {}
  for first = 1, m, TILE do
    local width = math.min(TILE, m - first + 1)
    local of = width == TILE and bands.whole or bands.last
    local sum
    for a = 1, bands.cq do
      local part = rapt.matmul(padded:narrow(3, a, n):narrow(4, first, width + bands.ck - 1), of[a])
      sum = sum and replace(sum, sum + part) or part
      if sum ~= part then part:close() end
    end
    tiles[#tiles + 1] = sum
  end
  padded:close()
  return join(rapt, tiles, 4)
end

-- Heads in groups of c: out[d] = sum of p[c'] kernel[c', d].
local function mix_heads(rapt, p, kernel)
  local b, h, n, m = table.unpack(p.shape)
  local c = kernel.shape[2]
  local mixed = rapt.matmul(kernel, p:view(b, h // c, c, n * m), { transpose_a = true })
  return replace(p, mixed:view(b, h, n, m))
end

function definitions.mta(rapt, inputs, attrs)
  if attrs.causal == nil then attrs = setmetatable({ causal = true }, { __index = attrs }) end
  local n, m = inputs.q.shape[3], inputs.k.shape[3]
  local mask, scale = mask_of(rapt, inputs, attrs), scale_of(inputs, attrs)
  local seen = attrs.causal and visible(rapt, n, m)
  local before = inputs.qk_kernel and bands_of(rapt, inputs.qk_kernel, m)
  local after = inputs.qk_kernel_post and bands_of(rapt, inputs.qk_kernel_post, m)
  local function only_seen(x) return seen and replace(x, x * seen) or x end
  return function()
    local s = scores(rapt, inputs.q, inputs.k, scale)
    if before then
      s = only_seen(s)
      s = replace(s, convolve(rapt, s, before))
    end
    local p = softmax(add(s, mask))
    if after then p = only_seen(replace(p, convolve(rapt, p, after))) end
    if inputs.head_kernel then p = mix_heads(rapt, p, inputs.head_kernel) end
    return apply(rapt, p, inputs.v)
  end
end

-- --- The low-rank family -----------------------------------------------------------------------

-- Averages over the bins of dimension `dim`: bin i covers floor(i n / bins) to ceil((i + 1) n / bins).
local function pooled(rapt, x, dim, bins)
  local n, parts = x.shape[dim], {}
  for i = 0, bins - 1 do
    local first, past = i * n // bins, ((i + 1) * n + bins - 1) // bins
    parts[#parts + 1] = x:narrow(dim, first + 1, past - first):mean(dim, true)
  end
  return join(rapt, parts, dim)
end

local function pool_queries(rapt, q, attrs)
  local count = attrs.n_agents or 49
  if not attrs.grid then return pooled(rapt, q, 3, count) end
  local b, h, _, d = table.unpack(q.shape)
  local side = math.floor(math.sqrt(count) + 0.5)
  local grid = q:reshape(b, h, attrs.grid[1], attrs.grid[2], d)
  return pooled(rapt, pooled(rapt, grid, 4, side), 3, side):reshape(b, h, count, d)
end

function definitions.agent(rapt, inputs, attrs)
  if inputs.dwc_weight then error("eager: agent: there is no depth-wise convolution here", 0) end
  local scale = scale_of(inputs, attrs)
  return function()
    local agents = inputs.agents or pool_queries(rapt, inputs.q, attrs)
    local gathered = apply(rapt, softmax(add(scores(rapt, agents, inputs.k, scale), inputs.agent_bias)),
      inputs.v)
    return apply(rapt, softmax(add(scores(rapt, inputs.q, agents, scale), inputs.query_bias)), gathered)
  end
end

-- --- The linear family -------------------------------------------------------------------------

local function sum_features(x) return x:sum({ dims = { -1 }, keepdim = true }) end

local function flow_full(rapt, inputs, eps, clamp)
  local n, m = inputs.q.shape[3], inputs.k.shape[3]
  local function sum_rows(x) return x:sum({ dims = { 3 }, keepdim = true }) end
  return function()
    local q, k = inputs.q:sigmoid(), inputs.k:sigmoid()
    local incoming = 1 / sum_features((q + eps) * (sum_rows(k) + eps))
    local outgoing = 1 / sum_features((k + eps) * (sum_rows(q) + eps))
    local sink = sum_features((q + eps) * (sum_rows(k * outgoing) + eps))
    local source = sum_features((k + eps) * (sum_rows(q * incoming) + eps))
    local competition = rapt.minimum(rapt.maximum(source, -clamp), clamp):softmax(3) * m
    local state = rapt.matmul(k, inputs.v * competition, { transpose_a = true })
    return rapt.matmul(q * incoming, state) * (sink * (n / m)):sigmoid()
  end
end

local function flow_causal(rapt, inputs, eps, clamp)
  local n = inputs.q.shape[3]
  local seen = visible(rapt, n, n)
  local t = rapt.arange(1, n + 1):to("f32"):reshape(n, 1)
  return function()
    local q, k = inputs.q:sigmoid(), inputs.k:sigmoid()
    local incoming = t / sum_features((q + eps) * (k:cumsum(3) + eps))
    local outgoing = t / sum_features((k + eps) * (q:cumsum(3) + eps))
    local sink = sum_features((q + eps) * ((k * outgoing):cumsum(3) + eps)) / t
    local source = sum_features((k + eps) * ((q * incoming):cumsum(3) + eps)) / t
    local e = rapt.minimum(rapt.maximum(source, -clamp), clamp):exp()
    local competition = t * e / e:cumsum(3)
    local s = rapt.matmul(q * (incoming / t), k, { transpose_b = true })
    return apply(rapt, replace(s, s * seen), inputs.v * competition) * sink:sigmoid()
  end
end

function definitions.flow(rapt, inputs, attrs)
  local eps, clamp = attrs.eps or 1e-6, attrs.clamp or 1
  return (attrs.causal and flow_causal or flow_full)(rapt, inputs, eps, clamp)
end

function definitions.lightning(rapt, inputs, attrs)
  local heads, n = inputs.q.shape[2], inputs.q.shape[3]
  local decay = visible(rapt, n, n)
  if inputs.slope then
    local row, column = positions(rapt, n, n)
    local far = (column - row):reshape(1, n, n)
    decay = rapt.minimum(far * inputs.slope:reshape(heads, 1, 1), 0):exp() * decay
  end
  local scale = attrs.scale or 1
  return function()
    local s = rapt.matmul(inputs.q, inputs.k, { transpose_b = true })
    if scale ~= 1 then s = replace(s, s * scale) end
    return apply(rapt, replace(s, s * decay), inputs.v)
  end
end

-- Where the level of (t, s), the bit length of t xor s, is `level`: blocks beside the diagonal.
local function level_masks(rapt, n, levels)
  local row, column = positions(rapt, n, n)
  local function block(x, size) -- floor(x / size), exact for positions below 2^24
    local whole = (x - (size - 1) / 2) / size
    return (whole + 12582912) - 12582912 -- rounds to the nearest integer
  end
  local masks = { row:eq(column) }
  for level = 1, levels - 1 do
    local size = 1 << (level - 1)
    local beside = block(row, size):ne(block(column, size)):to("f32")
    local together = block(row, 2 * size):eq(block(column, 2 * size)):to("f32")
    masks[level + 1] = (beside * together * visible(rapt, n, n)):gt(0.5)
  end
  return masks
end

function definitions.log_linear(rapt, inputs, attrs)
  local b, h, n, levels = table.unpack(inputs.l.shape)
  local mask, scale = hidden(rapt, n, n), attrs.scale or 1
  local needed = 1
  while 1 << (needed - 1) < n do needed = needed + 1 end
  local masks = level_masks(rapt, n, math.min(levels, needed))
  return function()
    local sums = inputs.g:cumsum(3)
    local decay = sums:reshape(b, h, n, 1) - sums:reshape(b, h, 1, n)
    decay = add(decay, mask)
    decay = replace(decay, decay:exp())
    local weight = rapt.zeros(1)
    for level, where in ipairs(masks) do -- one pass a level, as the published plain form has it
      weight = replace(weight, rapt.where(where, inputs.l:narrow(4, level, 1), weight))
    end
    local s = scores(rapt, repeated(inputs.q, h), inputs.k, scale)
    s = replace(s, s * decay)
    decay:close()
    s = replace(s, s * weight)
    weight:close()
    return apply(rapt, s, inputs.v)
  end
end

-- --- To be used by bench -----------------------------------------------------------------------

--- Is there a plain form of this operator?
function eager.knows(name) return definitions[name] ~= nil end

--- A function that computes the output of operator `name` for these inputs and attributes the plain way.
function eager.prepare(name, inputs, attrs)
  local define = definitions[name]
  if not define then error(("eager: there is no plain form of %s"):format(name), 0) end
  return define(require "rapt", inputs, attrs or {})
end

return eager
