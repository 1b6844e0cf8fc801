-- What agent takes beside its plain form, on the Vulkan device: softcap, a sink, packed sequences, and
-- the weights. The CPU's numbers and gradients.
local rapt = require "rapt"
local vulkan = require "vulkan_helper"

-- Inputs that keep their dtype: the sink is float32.
local own = { sink = "f32", cu_seqlens_q = "i32", cu_seqlens_k = "i64" }

local matches = vulkan.matches
local transposed = vulkan.transposed

-- Inputs, and the gradient of o. `c`: sizes, `A` agents given, `bias`, `sink`, `r` of the convolution,
-- `q` and `k`: borders.
local function inputs_of(c)
  rapt.manual_seed(c.N * 17 + c.M)
  local B, H = c.B or 1, c.H or 2
  local t = {
    q = rapt.randn(B, H, c.N, c.D), k = rapt.randn(B, H, c.M, c.D), v = rapt.randn(B, H, c.M, c.E),
    ["do"] = rapt.randn(B, H, c.N, c.E),
  }
  local agents = c.A or c.attrs.n_agents
  if c.A then t.agents = rapt.randn(B, H, c.A, c.D) end
  if c.bias then t.agent_bias, t.query_bias = rapt.randn(H, agents, c.M), rapt.randn(H, c.N, agents) end
  if c.sink then t.sink = rapt.randn(H) end
  if c.r then t.dwc_weight = rapt.randn(H * c.E, 1, c.r, c.r) * 0.2 end
  if c.q then
    t.cu_seqlens_q = rapt.tensor(c.q, { dtype = own.cu_seqlens_q })
    t.cu_seqlens_k = rapt.tensor(c.k, { dtype = own.cu_seqlens_k })
  end
  return t
end

-- The output and the gradients on a device, as float32 of the CPU.
local function run(t, attrs, device, dtype)
  local inputs, leaves, result = {}, {}, {}
  for name, x in pairs(t) do
    local there = x:detach():to(own[name] or dtype):to(device):clone()
    if name:match "^cu_" then
      inputs[name] = there
    elseif name ~= "do" then
      leaves[name] = there:requires_grad_()
      inputs[name] = transposed(leaves[name])
    end
  end
  local o = rapt.call("agent", inputs, attrs)
  assert.equal(device, o.device)
  result.o = o:detach():to("cpu"):to("f32")
  o:backward(transposed(t["do"]:to(dtype):to(device)))
  for name, x in pairs(leaves) do result["d" .. name] = x.grad:to("cpu"):to("f32") end
  return result
end

local tolerances = { f32 = { 2e-5, 1e-4 }, f16 = { 4e-3, 4e-3 }, bf16 = { 1.5e-2, 1.5e-2 } }

local function agrees(c, dtype)
  local t, rounded = inputs_of(c), {}
  for name, x in pairs(t) do rounded[name] = own[name] and x or x:to(dtype):to("f32") end
  local reference = run(rounded, c.attrs, "cpu", "f32")
  local result = run(t, c.attrs, vulkan.device, dtype)
  for name, x in pairs(result) do
    matches(reference[name], x, tolerances[dtype][name == "o" and 1 or 2], name)
  end
  return t, result
end

-- Options alike where they can be: each combination is a pipeline of every shader.
local cases = {
  grid = { B = 2, N = 72, M = 72, D = 6, E = 7, r = 3, bias = true, sink = true,
    attrs = { n_agents = 9, grid = { 8, 9 }, softcap = 2 } },
  -- Sequences of queries alone, of keys alone, of neither, of several tiles.
  packed = { N = 90, M = 420, D = 7, E = 9, bias = true, sink = true, q = { 0, 3, 3, 3, 81, 90, 90 },
    k = { 0, 0, 20, 20, 400, 419, 420 }, attrs = { n_agents = 5, softcap = 1.5 } },
  packed_given = { N = 70, M = 66, D = 8, E = 68, A = 67, bias = true, sink = true, q = { 0, 1, 70 },
    k = { 0, 64, 66 }, attrs = { softcap = 1.5 } },
  packed_one = { N = 3, M = 5, D = 4, E = 4, bias = true, sink = true, q = { 0, 3 }, k = { 0, 5 },
    attrs = { n_agents = 2, softcap = 0.5 } },
  packed_alone = { N = 70, M = 66, D = 8, E = 9, A = 3, q = { 0, 1, 70 }, k = { 0, 64, 66 }, attrs = {} },
}

describe("agent", function()
  for _, name in ipairs { "packed", "packed_given", "packed_one" } do
    it("agrees with the CPU: " .. name, function() agrees(cases[name], "f32") end)
  end

  it("agrees with the CPU in float16", function() agrees(cases.grid, "f16") end)

  it("agrees with the CPU in bfloat16", function() agrees(cases.packed_alone, "bf16") end)

  it("hides what a bias or a sink of minus infinity hides", function()
    local c = cases.packed_given
    local t = inputs_of(c)
    t.sink = rapt.tensor { -1 / 0, 50 }
    t.agent_bias[{ 1, 2, {} }] = -1 / 0
    t.agent_bias[{ 2, {}, { 3, 50 } }] = -1 / 0
    t.query_bias[{ 1, 5, {} }] = -1 / 0
    local reference = run(t, c.attrs, "cpu", "f32")
    for name, x in pairs(run(t, c.attrs, vulkan.device, "f32")) do
      matches(reference[name], x, name == "o" and 2e-5 or 1e-4, name)
    end
  end)

  it("shows its weights", function()
    for name, dtype in pairs { packed = "f32", packed_given = "f32", grid = "bf16" } do
      local t = inputs_of(cases[name])
      local function weights(device)
        local inputs = {}
        for key, x in pairs(t) do
          if key ~= "do" and key ~= "v" and key ~= "dwc_weight" then
            inputs[key] = (own[key] and x or x:to(dtype)):to(device)
          end
        end
        return rapt.weights("agent", inputs, cases[name].attrs):to("cpu")
      end
      matches(weights "cpu", weights(vulkan.device), 2e-5, name)
    end
  end)

  it("holds borders that are none within the tensors", function()
    local c = cases.packed
    for _, borders in ipairs { { -5, 400, 3, -1, 2000000000, 7, 7 }, { 9, 9, 9, 9, 9, 9, 9 } } do
      local t = inputs_of(c)
      t.cu_seqlens_q = rapt.tensor(borders, { dtype = "i32" })
      borders[3], borders[5] = -(1 << 40), 1 << 32
      t.cu_seqlens_k = rapt.tensor(borders, { dtype = "i64" })
      for name, x in pairs(run(t, c.attrs, vulkan.device, "f32")) do
        assert.is_true(x:abs():max():item() < 1e6, name)
      end
    end
  end)

  it("refuses borders that are empty, as the CPU does", function()
    local t = inputs_of(cases.packed)
    t["do"] = nil
    for name, x in pairs(t) do t[name] = x:to(vulkan.device) end
    t.cu_seqlens_q = rapt.zeros(0, { dtype = "i32" }):to(vulkan.device)
    t.cu_seqlens_k = rapt.zeros(0, { dtype = "i64" }):to(vulkan.device)
    assert.error_matches(function() rapt.call("agent", t, cases.packed.attrs) end,
      "cu_seqlens_q must rise from 0 to N = 90, but it is empty")
  end)

  it("gives the same bits twice", function()
    local c = cases.packed
    local t = inputs_of(c)
    local first = run(t, c.attrs, vulkan.device, "f32")
    for key, x in pairs(run(t, c.attrs, vulkan.device, "f32")) do
      assert.is_true((rapt.allclose(x, first[key], { rtol = 0, atol = 0 })), key)
    end
  end)
end)

it("the validation layers are silent", vulkan.assert_silent)
