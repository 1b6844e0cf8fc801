-- The linear family on Vulkan: lightning, flow and log_linear against golden vectors and against the CPU.
local cjson = require "cjson"
local rapt = require "rapt"
local vulkan = require "vulkan_helper"

local golden = assert(os.getenv("RAPT_GOLDEN"), "RAPT_GOLDEN must name the folder of golden vectors")
local device = vulkan.device

-- Within `tolerance` of the greatest absolute reference value.
local function matches(reference, t, tolerance, what)
  assert.same(reference.shape, t.shape)
  for _, size in ipairs(reference.shape) do if size == 0 then return end end
  local here = t:to("cpu"):to("f32")
  local greatest = math.max(reference:abs():max():item(), 1e-30)
  local ok, err = rapt.allclose(here, reference, { rtol = 0, atol = tolerance * greatest })
  assert.is_true(ok, ("%s is off by %g of at most %g"):format(what, err, tolerance * greatest))
end

-- The same values with other strides: B H N D as it comes out of B N H D.
local function transposed(t) return t.ndim > 2 and t:transpose(2, 3):contiguous():transpose(2, 3) or t end

-- Calls on a device: results and, fed back with `seeds` (name -> tensor), gradients, all as "cpu" f32.
-- `inputs`: tensors that have gradients; `fixed`: those that have none.
local function run(op, where, dtype, inputs, fixed, attrs, seeds, arrange)
  local args, leaves, results = {}, {}, {}
  for name, t in pairs(inputs) do
    local kind = (name == "state" or name == "sums" or name == "slope") and "f32" or dtype
    leaves[name] = t:to(kind):to(where):clone():requires_grad_()
    args[name] = arrange and arrange(leaves[name]) or leaves[name]
  end
  for name, t in pairs(fixed or {}) do args[name] = t:to(where) end
  local returns = {}
  for name in pairs(seeds) do if name ~= "o" then returns[#returns + 1] = name end end
  local call = {}
  for name, value in pairs(args) do call[name] = value end
  for name, value in pairs(attrs or {}) do call[name] = value end
  if #returns > 0 then call.returns = returns end
  local o, extra = rapt.ops[op](call)
  assert.equal(where, o.device)
  local outputs = { o = o }
  for _, name in ipairs(returns) do outputs[name] = extra[name] end
  local loss
  for name, t in pairs(outputs) do
    results[name] = t:detach():to("cpu"):to("f32")
    if seeds[name] and t.requires_grad then
      local part = (t:to("f32") * seeds[name]:to(where)):sum()
      loss = loss and loss + part or part
    end
  end
  if loss then loss:backward() end
  for name, t in pairs(leaves) do
    if t.grad then results["d" .. name] = t.grad:to("cpu"):to("f32") end
  end
  return results
end

-- Both devices, same inputs.
local function agree(op, dtype, inputs, fixed, attrs, seeds, arrange)
  local forward = dtype == "f32" and 2e-5 or 4e-3
  local backward = ({ f32 = 1e-4, f16 = 4e-3, bf16 = 1.5e-2 })[dtype]
  local reference = run(op, "cpu", dtype, inputs, fixed, attrs, seeds, arrange)
  local results = run(op, device, dtype, inputs, fixed, attrs, seeds, arrange)
  for name, t in pairs(reference) do
    assert.is_truthy(results[name], name)
    matches(t, results[name], name:sub(1, 1) == "d" and backward or forward, name)
  end
  return results
end

-- What a call takes, by sizes: inputs with gradients, and seeds of its outputs.
local R = rapt.randn

local function decays(...) return -(R(...):abs() * 0.1) end

local function case(op, c)
  local B, H, N, D, E = c.B or 1, c.H or 2, c.N, c.D, c.E
  local G, M = op == "log_linear" and (c.G or 1) or H, c.M or N
  local inputs = { q = R(B, G, N, D), k = R(B, G, M, D), v = R(B, H, M, E) }
  if op == "log_linear" then
    inputs.g, inputs.l = decays(B, H, N), R(B, H, N, c.L or 9):abs()
  end
  return inputs, { o = R(B, H, N, E) }
end

local function rounded(tensors, dtype)
  local t = {}
  for name, tensor in pairs(tensors) do t[name] = tensor:to(dtype):to("f32") end
  return t
end

describe("golden vectors on Vulkan:", function()
  for name, half in pairs { lightning_decay = "f16", lightning_nodecay = "f16", flow_basic = "bf16",
    flow_cross = "bf16", flow_causal = "f16", log_linear_basic = "bf16", log_linear_grouped = "bf16" } do
    local file = golden .. "/" .. name .. ".safetensors"
    local tensors, metadata = rapt.load(file), rapt.metadata(file)
    local op, attrs = metadata.op, cjson.decode(metadata.attrs)
    local inputs = {}
    for key, t in pairs(tensors) do
      if tensors["d" .. key] and key ~= "o" then inputs[key] = t end
    end
    for layout, arrange in pairs { contiguous = false, transposed = transposed } do
      it(("%s %s"):format(name, layout), function()
        local seeds = { o = tensors["do"] }
        for key, t in pairs(run(op, device, "f32", inputs, nil, attrs, seeds, arrange)) do
          matches(tensors[key], t, key == "o" and 2e-5 or 1e-4, key)
        end
      end)
    end
    it(("%s %s"):format(name, half), function()
      local seeds = { o = tensors["do"]:to(half):to("f32") }
      local reference = run(op, "cpu", "f32", rounded(inputs, half), nil, attrs, seeds)
      for key, t in pairs(run(op, device, half, inputs, nil, attrs, seeds)) do
        matches(reference[key], t, half == "f16" and 4e-3 or 1.5e-2, key)
      end
    end)
  end
end)

describe("on Vulkan as on the CPU:", function()
  -- Columns that are no multiple of four are loaded one by one.
  local odd = {
    lightning = { f32 = true, bf16 = true },
    flow = { f32 = true },
    log_linear = { f32 = true },
  }
  for op, dtypes in pairs(odd) do
    for dtype in pairs(dtypes) do
      it(op .. " of odd sizes in " .. dtype, function()
        for _, c in ipairs { { N = 1, D = 1, E = 1 }, { B = 2, N = 70, D = 9, E = 3 },
          { N = 130, D = 66, E = 67, H = 1 } } do
          local inputs, seeds = case(op, c)
          local arrange = c.B and transposed
          agree(op, dtype, inputs, nil, { scale = op ~= "flow" and 0.3 or nil }, seeds, arrange)
        end
      end)
    end
  end

  it("causal flow of odd sizes", function()
    for _, c in ipairs { { N = 1, D = 1, E = 1 }, { B = 2, N = 70, D = 9, E = 3 },
      { N = 65, D = 66, E = 5 } } do
      local inputs, seeds = case("flow", c)
      agree("flow", "f32", inputs, nil, { causal = true }, seeds, c.B and transposed)
    end
  end)

  it("wide heads", function()
    for _, op in ipairs { "lightning", "flow", "log_linear" } do
      local inputs, seeds = case(op, { H = 1, N = 66, D = 256, E = 132 })
      agree(op, "f32", inputs, nil, { scale = op ~= "flow" and 0.1 or nil }, seeds)
    end
  end)

  it("queries and keys of different lengths", function()
    for _, c in ipairs { { N = 5, M = 300, D = 8, E = 4 }, { N = 300, M = 3, D = 4, E = 8 } } do
      local inputs, seeds = case("flow", c)
      agree("flow", "f32", inputs, nil, {}, seeds)
    end
  end)

  it("states in and out", function()
    local B, H, N, D, E = 2, 2, 70, 8, 12
    local inputs, seeds = case("lightning", { B = B, N = N, D = D, E = E })
    inputs.slope, inputs.state, seeds.final_state = rapt.tensor { 0.05, 0.7 }, R(B, H, D, E), R(B, H, D, E)
    agree("lightning", "f32", inputs, nil, {}, seeds)
    seeds.o = nil -- the state's gradient alone
    agree("lightning", "f32", inputs, nil, {}, seeds)
    inputs, seeds = case("flow", { B = B, N = N, D = D, E = E })
    inputs.state, inputs.sums = R(B, H, D, E), R(B, H, 6, D):abs() + 3
    seeds.final_state, seeds.final_sums = R(B, H, D, E), R(B, H, 6, D)
    agree("flow", "f32", inputs, nil, { causal = true }, seeds)
  end)

  -- Positions that came before, with bits below, in and above a chunk, and beyond 32 bits of chunks; all
  -- of a chunk's rows skipped but one; the carry that runs through all bits.
  local goes_on = { { 0, 70 }, { 21, 5 }, { 63, 130 }, { 64, 70 }, { 127, 1 }, { 1000, 90 }, { 4095, 700 },
    { 16 * 64 * 3 + 33, 640 }, { 2 ^ 38 - 65, 130 }, { 2 ^ 39 + 2 ^ 37 + 5, 66 }, { 13, 0 } }

  local function from_state(c, L, S)
    local B, H, D, E = c.B or 1, c.H or 2, 8, 12
    local inputs, seeds = case("log_linear", { B = B, H = H, N = c.N, D = D, E = E, L = L })
    inputs.state, seeds.final_state = R(S or B, H, L, D, E), R(S or B, H, L, D, E)
    return inputs, seeds
  end

  for i, c in ipairs(goes_on) do
    local position, N = math.tointeger(c[1]), c[2]
    it(("log_linear from position %d on, %d more"):format(position, N), function()
      local L = 2
      while N > 0 and 1 << (L - 1) < position + N do L = L + 1 end
      if N == 0 then L = 3 end
      local inputs, seeds = from_state({ B = i == 3 and 2 or 1, N = N }, L)
      local arrange = i == 2 and transposed or nil
      agree("log_linear", "f32", inputs, nil, { position = position, scale = 0.7 }, seeds, arrange)
      if i % 3 == 0 then
        inputs.state = nil
        agree("log_linear", "f32", inputs, nil, { position = position }, seeds)
        seeds.o = nil -- the final state's gradient alone
        agree("log_linear", "f32", inputs, nil, { position = position }, seeds)
      end
    end)
  end

  it("log_linear from a state, packed, in all dtypes", function()
    local borders = rapt.tensor { 0, 1, 1, 65, 129, 130, 260 }
    for _, c in ipairs { { 0, "f32", "i64" }, { 21, "f32", "i32" }, { 1087, "bf16", "i64" } } do
      local inputs, seeds = from_state({ N = 260, H = c[2] == "f32" and 4 or 2 }, 12, 6)
      agree("log_linear", c[2], inputs, { cu_seqlens_q = borders:to(c[3]) }, { position = c[1] }, seeds)
    end
    -- float16 differs from bfloat16 by how it is loaded and stored: forward will do.
    local inputs, results = from_state({ N = 130 }, 12), {}
    for _, where in ipairs { "cpu", device } do
      local call = { position = 99, returns = { "final_state" } }
      for name, t in pairs(inputs) do call[name] = t:to(name == "state" and "f32" or "f16"):to(where) end
      local o, extra = rapt.ops.log_linear(call)
      results[where] = { o:to("cpu"):to("f32"), extra.final_state:to("cpu") }
    end
    for i, t in ipairs(results.cpu) do matches(t, results[device][i], 4e-3, i) end
  end)

  it("log_linear in parts as in one", function()
    local N, L = 150, 9
    local inputs, seeds = case("log_linear", { N = N, D = 8, E = 12, L = L })
    local whole = run("log_linear", device, "f32", inputs, nil, {}, seeds)
    for _, split in ipairs { 1, 64, 87 } do
      local leaves, state = {}, nil
      for name, t in pairs(inputs) do leaves[name] = t:to(device):clone():requires_grad_() end
      local parts, at = {}, 0
      for i, n in ipairs { split, N - split } do
        local call = { state = state, position = at, returns = { "final_state" } }
        for name, t in pairs(leaves) do call[name] = t:narrow(3, at + 1, n) end
        local o, extra = rapt.ops.log_linear(call)
        parts[i], state, at = (o * seeds.o:to(device):narrow(3, at + 1, n)):sum(), extra.final_state, at + n
        matches(whole.o:narrow(3, at - n + 1, n), o:detach(), 2e-5, "o")
      end
      local loss = parts[1] + parts[2]
      loss:backward()
      for name, t in pairs(leaves) do matches(whole["d" .. name], t.grad, 1e-4, "d" .. name) end
    end
  end)

  it("decays from none to all", function()
    local H, N, D, E = 4, 200, 8, 12
    local inputs, seeds = case("lightning", { H = H, N = N, D = D, E = E })
    inputs.slope, seeds.final_state = rapt.tensor { 0, 50, 1e-3, 1e6 }, R(1, H, D, E)
    agree("lightning", "f32", inputs, nil, {}, seeds)
    for _, g in ipairs { 0, -1e-4, -50, -1e9 } do
      inputs, seeds = case("log_linear", { H = H, G = 2, N = N, D = D, E = E })
      inputs.g = rapt.zeros(1, H, N) + g
      agree("log_linear", "f32", inputs, nil, {}, seeds)
    end
    inputs.g = decays(1, H, N) - R(1, H, N):abs():gt(2):to("f32") * 500 -- a few that forget all
    agree("log_linear", "f32", inputs, nil, {}, seeds)
  end)

  it("clamps and eps of flow", function()
    for _, attrs in ipairs { { clamp = 0, eps = 0 }, { clamp = 40, eps = 0.1 }, { clamp = 300 } } do
      for _, causal in ipairs { false, true } do
        local inputs, seeds = case("flow", { N = 90, D = 8, E = 12 })
        for _, name in ipairs { "q", "k" } do inputs[name] = inputs[name] * 3 end
        attrs.causal = causal
        agree("flow", "f32", inputs, nil, attrs, seeds)
      end
    end
  end)

  it("a tree of many levels, more weights than it has", function()
    local inputs, seeds = case("log_linear", { H = 1, N = 2200, D = 4, E = 8, L = 16 })
    inputs.g = inputs.g * 0.03
    agree("log_linear", "f32", inputs, nil, { scale = 0.5 }, seeds)
  end)

  it("packed sequences", function()
    local H, N, D, E = 2, 260, 8, 12
    local borders = rapt.tensor { 0, 1, 1, 65, 129, 130, 260 }
    for _, kind in ipairs { "i32", "i64" } do
      local fixed, S = { cu_seqlens_q = borders:to(kind) }, 6
      local inputs, seeds = case("lightning", { N = N, D = D, E = E })
      inputs.slope, inputs.state = rapt.tensor { 0.05, 0.7 }, R(S, H, D, E)
      seeds.final_state = R(S, H, D, E)
      agree("lightning", "f32", inputs, fixed, {}, seeds)
      inputs, seeds = case("log_linear", { N = N, D = D, E = E, L = 10 })
      agree("log_linear", "f32", inputs, fixed, {}, seeds)
      inputs, seeds = case("flow", { N = N, D = D, E = E })
      agree("flow", "f32", inputs, fixed, {}, seeds)
      agree("flow", "f32", inputs, fixed, { causal = true }, seeds)
      inputs, seeds = case("flow", { N = N, M = 200, D = D, E = E })
      fixed.cu_seqlens_k = rapt.tensor { 0, 1, 40, 40, 170, 171, 200 }:to("i32")
      agree("flow", "f32", inputs, fixed, {}, seeds)
    end
  end)

  it("decays and weights of float32 beside bfloat16, rows that many heads share", function()
    local H, N, D, E, L = 4, 70, 8, 12, 8
    local q, k, v = R(1, 1, N, D):to("bf16"), R(1, 1, N, D):to("bf16"), R(1, 1, N, E):to("bf16")
    local g, l, seed = decays(1, H, N), R(1, H, N, L):abs(), R(1, H, N, E)
    local results = {}
    for _, where in ipairs { "cpu", device } do
      local leaves = { q:to(where), k:to(where), v:to(where), g:to(where), l:to(where) }
      for i, t in ipairs(leaves) do leaves[i] = t:clone():requires_grad_() end
      local o = rapt.ops.log_linear { q = leaves[1], k = leaves[2], v = leaves[3]:expand(1, H, N, E),
        g = leaves[4], l = leaves[5] }
      local loss = (o:to("f32") * seed:to(where)):sum()
      loss:backward()
      results[where] = { o:detach():to("cpu"):to("f32") }
      for i, t in ipairs(leaves) do
        assert.equal(t.dtype, t.grad.dtype)
        results[where][i + 1] = t.grad:to("cpu"):to("f32")
      end
    end
    for i, t in ipairs(results.cpu) do matches(t, results[device][i], 1.5e-2, i) end
  end)

  it("nothing at all", function()
    for _, c in ipairs { { B = 0, N = 5, D = 4, E = 4 }, { N = 0, D = 4, E = 4 }, { N = 5, D = 0, E = 4 },
      { N = 5, D = 4, E = 0 }, { N = 5, M = 0, D = 4, E = 4 }, { N = 0, M = 5, D = 4, E = 4 } } do
      for _, op in ipairs { "lightning", "flow", "log_linear" } do
        if op == "flow" or not c.M then
          local inputs, seeds = case(op, c)
          agree(op, "f32", inputs, nil, {}, seeds)
          if op == "flow" and not c.M then agree(op, "f32", inputs, nil, { causal = true }, seeds) end
        end
      end
    end
  end)
end)

describe("decoding on Vulkan", function()
  local B, N, D, E = 2, 70, 8, 12
  local tolerance = { f32 = 5e-5, f16 = 6e-3, bf16 = 2e-2 }
  for op, dtypes in pairs { lightning = { "f32", "f16" }, flow = { "f32", "f16" },
    log_linear = { "f32", "bf16" } } do
    for _, dtype in ipairs(dtypes) do
      it("of " .. op .. " in " .. dtype .. " gives what one call gives", function()
        local attrs = op == "flow" and { causal = true } or {}
        local inputs = case(op, { B = B, N = N, D = D, E = E })
        local slope = op == "lightning" and rapt.tensor { 0.1, 0 } or nil
        local function rows(where, from, n)
          local t = {}
          for name, tensor in pairs(inputs) do t[name] = tensor:to(dtype):to(where):narrow(3, from, n) end
          return t
        end
        local function all(where, n)
          local t = rows(where, 1, n)
          t.slope = slope and slope:to(where)
          return t
        end
        local reference = (rapt.call(op, all("cpu", N), attrs)):to("f32")
        for _, split in ipairs { 0, 1, 63, 64, 67 } do
          local st, prefill = rapt.state(op, all(device, split), attrs)
          if split > 0 then matches(reference:narrow(3, 1, split), prefill, tolerance[dtype], "prefill") end
          for i = split + 1, math.min(N, split + 3) do
            local o = st:step(rows(device, i, 1))
            assert.equal(device, o.device)
            matches(reference:narrow(3, i, 1), o, tolerance[dtype], "step " .. i)
          end
        end
      end)
    end
  end
end)

describe("the linear family on Vulkan", function()
  it("gives the same bits again", function()
    for _, op in ipairs { "lightning", "flow", "log_linear" } do
      local inputs, seeds = case(op, { N = 200, D = 8, E = 12 })
      local first = run(op, device, "f32", inputs, nil, {}, seeds)
      local again = run(op, device, "f32", inputs, nil, {}, seeds)
      for name, t in pairs(first) do assert.same(t:totable(), again[name]:totable(), name) end
    end
    local inputs, seeds = case("log_linear", { N = 150, D = 8, E = 12 })
    inputs.state, seeds.final_state = R(1, 2, 9, 8, 12), R(1, 2, 9, 8, 12)
    local first = run("log_linear", device, "f32", inputs, nil, { position = 87 }, seeds)
    local again = run("log_linear", device, "f32", inputs, nil, { position = 87 }, seeds)
    for name, t in pairs(first) do assert.same(t:totable(), again[name]:totable(), name) end
  end)

  -- Borders that are none, and those that the device takes them for: each where the search for it is, the
  -- first as 0 and the last as all positions.
  local wrong = {
    { { 0, 150, 90, 260 }, { 0, 150, 150, 260 } },
    { { 7, 100, 2 ^ 40, 70 }, { 0, 100, 260, 260 } },
    { { 0, -5, -2000000000, 2000000000, 9 }, { 0, 0, 0, 260, 260 } },
    { { 300, 200, 100, 50, 0 }, { 0, 100, 100, 100, 260 } },
  }

  it("holds borders that are none in range", function()
    local H, N, D, E = 2, 260, 8, 12
    for i, borders in ipairs(wrong) do
      local kind = i % 2 == 0 and "i64" or "i32"
      for _, op in ipairs { "lightning", "flow", "log_linear" } do
        local inputs, seeds = case(op, { N = N, D = D, E = E, L = 10 })
        local attrs = {}
        if op == "flow" then attrs.causal = i % 2 == 0 end
        if op == "log_linear" then attrs.position = 21 end
        if op == "lightning" then inputs.slope = rapt.tensor { 0.05, 0.7 } end
        if op ~= "flow" then
          local shape = op == "lightning" and { H, D, E } or { H, 10, D, E }
          inputs.state = R(#borders[1] - 1, table.unpack(shape))
          seeds.final_state = R(#borders[1] - 1, table.unpack(shape))
        end
        local held = { cu_seqlens_q = rapt.tensor(borders[2]):to(kind) }
        local given = { cu_seqlens_q = rapt.tensor(borders[1]):to(kind) }
        local reference = run(op, device, "f32", inputs, held, attrs, seeds)
        for name, t in pairs(run(op, device, "f32", inputs, given, attrs, seeds)) do
          assert.same(reference[name]:totable(), t:totable(), name)
        end
        matches(run(op, "cpu", "f32", inputs, held, attrs, seeds).o, reference.o, 2e-5, op)
      end
    end
    local inputs = case("lightning", { N = 100, D = 4, E = 4 })
    for name, t in pairs(inputs) do inputs[name] = t:to(device) end
    inputs.cu_seqlens_q = rapt.tensor { 0 }:to("i32"):to(device)
    assert.error_matches(function() rapt.ops.lightning(inputs) end, "cu_seqlens_q must rise from 0 to 100")
  end)

  it("goes by cooperative matrices where the device has them", function()
    local inputs = case("lightning", { N = 70, D = 8, E = 12 })
    for name, t in pairs(inputs) do inputs[name] = t:to("f16"):to(device) end
    local text = rapt.explain("lightning", inputs)
    local coop = vulkan.has "coopmat KHR" or vulkan.has "coopmat NV"
    local kernel = coop and "vulkan.coopmat" or "vulkan"
    assert.truthy(text:find(kernel .. ": would run", 1, true), text)
  end)

  it("leaves the validation layers silent", vulkan.assert_silent)
end)
