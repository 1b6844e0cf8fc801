-- agent and mta on the Vulkan device: golden vectors, and the CPU's numbers and gradients on other
-- shapes and attributes.
local cjson = require "cjson"
local rapt = require "rapt"
local vulkan = require "vulkan_helper"

local golden = assert(os.getenv("RAPT_GOLDEN"), "RAPT_GOLDEN must name the folder of golden vectors")

local matches = vulkan.matches
local transposed = vulkan.transposed

local function same(t) return t end

-- The output and the gradients on a device; `tensors` are by name, "do" is the gradient of o.
local function run(op, tensors, attrs, device, dtype, arrange)
  local inputs, leaves, result = {}, {}, {}
  for name, t in pairs(tensors) do
    if name ~= "do" then
      leaves[name] = t:detach():to(dtype):to(device):clone():requires_grad_()
      inputs[name] = (arrange or same)(leaves[name])
    end
  end
  local o = rapt.call(op, inputs, attrs)
  assert.equal(dtype, o.dtype)
  assert.equal(device, o.device)
  result.o = o:detach():to("cpu"):to("f32")
  o:backward((arrange or same)(tensors["do"]:to(dtype):to(device)))
  for name, t in pairs(leaves) do result["d" .. name] = t.grad:to("cpu"):to("f32") end
  return result
end

describe("golden vectors", function()
  for _, case in ipairs { "agent_agents_bias", "agent_grid_dwc", "agent_pool1d", "mta_full", "mta_qk" } do
    local file = golden .. "/" .. case .. ".safetensors"
    local all, metadata = rapt.load(file), rapt.metadata(file)
    local op, attrs, given = metadata.op, cjson.decode(metadata.attrs), { ["do"] = all["do"] }
    for name, t in pairs(all) do
      if all["d" .. name] and name ~= "o" then given[name] = t end
    end
    for layout, arrange in pairs { contiguous = same, transposed = transposed } do
      it(("%s %s"):format(case, layout), function()
        for name, t in pairs(run(op, given, attrs, vulkan.device, "f32", arrange)) do
          matches(all[name], t, name == "o" and 2e-5 or 1e-4, name)
        end
      end)
    end
    -- Cooperative matrices round agents, weights and what they gather to the dtype, then the output.
    for dtype, tolerance in pairs { f16 = { 4e-3, 4e-3 }, bf16 = { 6e-3, 1.5e-2 } } do
      it(("%s %s"):format(case, dtype), function()
        local rounded = {}
        for name, t in pairs(given) do rounded[name] = t:to(dtype):to("f32") end
        local reference = run(op, rounded, attrs, "cpu", "f32")
        for name, t in pairs(run(op, given, attrs, vulkan.device, dtype)) do
          matches(reference[name], t, tolerance[name == "o" and 1 or 2], name)
        end
      end)
    end
  end
end)

-- Inputs of mta. `c`: a, b of qk_kernel, r, s of qk_kernel_post, mixed heads; 0: without.
local function mta_inputs(c)
  rapt.manual_seed(c.N * 31 + c.M)
  local t = {
    q = rapt.randn(c.B, c.H, c.N, c.D), k = rapt.randn(c.B, c.G, c.M, c.D), v = rapt.randn(c.B, c.G, c.M,
      c.E),
    ["do"] = rapt.randn(c.B, c.H, c.N, c.E),
  }
  if c.a then t.qk_kernel = rapt.randn(c.H, c.a, c.b) * 0.3 end
  if c.r then t.qk_kernel_post = rapt.randn(c.H, c.r, c.s) * 0.3 end
  if c.c then t.head_kernel = rapt.randn(c.H // c.c, c.c, c.c) * 0.5 end
  return t
end

local mta_cases = {
  { "of nothing but softmax", B = 1, H = 2, G = 1, N = 67, M = 67, D = 5, E = 3 },
  { "of one query", B = 2, H = 2, G = 2, N = 1, M = 9, D = 8, E = 8, a = 3, b = 3 },
  { "of two blocks", B = 1, H = 2, G = 1, N = 130, M = 130, D = 16, E = 16, a = 6, b = 11, c = 2 },
  { "with kernels wider than the sequence", B = 1, H = 2, G = 2, N = 5, M = 7, D = 4, E = 4, a = 9,
    b = 21, r = 10, s = 37, c = 2 },
  { "with more keys than queries", B = 2, H = 4, G = 2, N = 13, M = 40, D = 6, E = 70, a = 2, b = 5, r = 3,
    s = 1, c = 4 },
  { "with queries that see nothing", B = 1, H = 2, G = 1, N = 20, M = 6, D = 4, E = 5, a = 4, b = 3, r = 2,
    s = 3 },
  { "without a mask", B = 1, H = 4, G = 4, N = 33, M = 21, D = 7, E = 9, a = 3, b = 5, r = 2, s = 7, c = 2,
    causal = false },
  { "without scores' kernel", B = 1, H = 2, G = 2, N = 18, M = 18, D = 8, E = 8, r = 4, s = 5 },
  { "of mixed heads alone", B = 2, H = 6, G = 3, N = 10, M = 12, D = 4, E = 4, c = 3, causal = false },
  { "without keys", B = 1, H = 2, G = 2, N = 4, M = 0, D = 4, E = 4, a = 2, b = 3, c = 2 },
  { "without queries", B = 1, H = 2, G = 2, N = 0, M = 4, D = 4, E = 4, a = 2, b = 3, r = 2, s = 3, c = 2 },
}

local function agrees(op, tensors, attrs, dtype, tolerances)
  local rounded = {}
  for name, t in pairs(tensors) do rounded[name] = t:to(dtype):to("f32") end
  local reference = run(op, rounded, attrs, "cpu", "f32", transposed)
  local result = run(op, tensors, attrs, vulkan.device, dtype, transposed)
  for name, t in pairs(result) do
    matches(reference[name], t, name == "o" and tolerances[1] or tolerances[2], name)
  end
  return result
end

local exact, f16, bf16 = { 2e-5, 1e-4 }, { 4e-3, 4e-3 }, { 1.5e-2, 1.5e-2 }

describe("mta", function()
  for _, c in ipairs(mta_cases) do
    it("agrees with the CPU: " .. c[1], function()
      agrees("mta", mta_inputs(c), { causal = c.causal ~= false, scale = 0.7 }, "f32", exact)
    end)
  end

  it("agrees with the CPU in float16", function()
    agrees("mta", mta_inputs(mta_cases[5]), {}, "f16", f16)
  end)

  it("agrees with the CPU in bfloat16", function()
    agrees("mta", mta_inputs(mta_cases[5]), {}, "bf16", bf16)
  end)

  it("takes kernels in float32 beside 16 bits", function()
    local t = mta_inputs(mta_cases[6])
    local function call(device, dtype)
      local function on(x) return x:to("f16"):to(dtype):to(device) end
      local kernel = t.qk_kernel:detach():to(device):clone():requires_grad_()
      local o = rapt.ops.mta { q = on(t.q), k = on(t.k), v = on(t.v), qk_kernel = kernel }
      o:backward(on(t["do"]))
      return o:detach():to("cpu"):to("f32"), kernel.grad
    end
    local o, grad = call("cpu", "f32")
    local there, there_grad = call(vulkan.device, "f16")
    assert.equal("f32", there_grad.dtype)
    matches(o, there, 4e-3, "o")
    matches(grad, there_grad:to("cpu"), 4e-3, "dqk_kernel")
  end)

  it("shows its weights", function()
    local t = mta_inputs(mta_cases[5])
    for _, causal in ipairs { true, false } do
      local function weights(device)
        local inputs = {}
        for name, x in pairs(t) do
          if name ~= "do" and name ~= "v" then inputs[name] = x:to(device) end
        end
        return rapt.weights("mta", inputs, { causal = causal }):to("cpu")
      end
      matches(weights("cpu"), weights(vulkan.device), 2e-5, "weights")
    end
  end)

  it("goes on position by position", function()
    local t = mta_inputs { B = 2, H = 4, G = 2, N = 12, M = 12, D = 8, E = 6, a = 3, b = 5, r = 2, s = 3,
      c = 2 }
    local there = {}
    for name, x in pairs(t) do there[name] = x:to(vulkan.device) end
    t["do"], there["do"] = nil, nil
    local whole = rapt.call("mta", t, { causal = true })
    local function rows(from, n)
      local inputs = {}
      for _, name in ipairs { "q", "k", "v" } do inputs[name] = there[name]:narrow(3, from, n) end
      return inputs
    end
    local first = rows(1, 7)
    for _, name in ipairs { "qk_kernel", "qk_kernel_post", "head_kernel" } do first[name] = there[name] end
    local st <close>, prefill = rapt.state("mta", first, { causal = true })
    matches(whole:narrow(3, 1, 7), prefill:to("cpu"), 2e-5, "prefill")
    for i = 8, 12 do
      matches(whole:narrow(3, i, 1), st:step(rows(i, 1)):to("cpu"), 2e-5, "step " .. i)
    end
  end)
end)

-- Inputs of agent. A: agents given; r: width of the convolution; bias: biases of A agents.
local function agent_inputs(c)
  rapt.manual_seed(c.N * 17 + c.M)
  local t = {
    q = rapt.randn(c.B, c.H, c.N, c.D), k = rapt.randn(c.B, c.H, c.M, c.D), v = rapt.randn(c.B, c.H, c.M,
      c.E),
    ["do"] = rapt.randn(c.B, c.H, c.N, c.E),
  }
  local agents = c.A or c.n_agents or 49
  if c.A then t.agents = rapt.randn(c.B, c.H, c.A, c.D) end
  if c.bias then
    t.agent_bias, t.query_bias = rapt.randn(c.H, agents, c.M), rapt.randn(c.H, c.N, agents)
  end
  if c.r then
    t.dwc_weight = rapt.randn(c.H * c.E, 1, c.r, c.r) * 0.2
    if c.bias then t.dwc_bias = rapt.randn(c.H * c.E) end
  end
  return t
end

local agent_cases = {
  { "pooled from a line", B = 2, H = 2, N = 70, M = 70, D = 16, E = 16 },
  { "more agents than queries", B = 1, H = 2, N = 5, M = 31, D = 4, E = 3, n_agents = 70, bias = true },
  { "one query", B = 1, H = 2, N = 1, M = 3, D = 5, E = 4, n_agents = 2 },
  { "given, with splits and tiles", B = 1, H = 1, N = 66, M = 600, D = 20, E = 70, A = 68, bias = true },
  { "on a grid with a wide convolution", B = 2, H = 2, N = 45, M = 45, D = 6, E = 7, n_agents = 16,
    grid = { 5, 9 }, r = 5, bias = true },
  { "given, with a convolution", B = 2, H = 2, N = 12, M = 12, D = 4, E = 66, A = 3, grid = { 3, 4 }, r = 7 },
  { "without keys", B = 1, H = 2, N = 6, M = 0, D = 4, E = 4, n_agents = 3 },
  { "without queries", B = 1, H = 2, N = 0, M = 6, D = 4, E = 4, A = 3 },
}

describe("agent", function()
  local function attrs_of(c) return { n_agents = c.n_agents or 49, grid = c.grid } end

  for _, c in ipairs(agent_cases) do
    it("agrees with the CPU: " .. c[1], function()
      agrees("agent", agent_inputs(c), attrs_of(c), "f32", exact)
    end)
  end

  it("agrees with the CPU in float16", function()
    local c = agent_cases[4] -- on a grid: vulkan_agent_spec.lua
    agrees("agent", agent_inputs(c), attrs_of(c), "f16", f16)
  end)

  it("agrees with the CPU in bfloat16", function()
    local c = agent_cases[5]
    agrees("agent", agent_inputs(c), attrs_of(c), "bf16", bf16)
  end)

  it("takes biases in float32 beside 16 bits", function()
    local t = agent_inputs(agent_cases[2])
    local function call(device, dtype)
      local function on(x) return x:to("f16"):to(dtype):to(device) end
      local bias = t.query_bias:detach():to(device):clone():requires_grad_()
      local o = rapt.ops.agent { q = on(t.q), k = on(t.k), v = on(t.v), query_bias = bias, n_agents = 70 }
      o:backward(on(t["do"]))
      return o:detach():to("cpu"):to("f32"), bias.grad:to("cpu")
    end
    local o, grad = call("cpu", "f32")
    local there, there_grad = call(vulkan.device, "f16")
    matches(o, there, 4e-3, "o")
    matches(grad, there_grad, 4e-3, "dquery_bias")
  end)

  it("refuses a grid that is not that of the queries, as the CPU does", function()
    local t = agent_inputs(agent_cases[3])
    t["do"] = nil
    for name, x in pairs(t) do t[name] = x:to(vulkan.device) end
    assert.error_matches(function() rapt.call("agent", t, { n_agents = 4, grid = { 2, 3 } }) end,
      "grid is 2 x 3, but N is 1")
    assert.error_matches(function() rapt.call("agent", t, { n_agents = 5, grid = { 1, 1 } }) end,
      "need a square number")
  end)
end)

describe("the same input", function()
  it("gives the same bits", function()
    for op, given in pairs {
      mta = { mta_inputs(mta_cases[5]), {} },
      agent = { agent_inputs(agent_cases[5]), { n_agents = 16, grid = { 5, 9 } } },
    } do
      local first = run(op, given[1], given[2], vulkan.device, "f32")
      local second = run(op, given[1], given[2], vulkan.device, "f32")
      for name, t in pairs(first) do
        assert.is_true((rapt.allclose(t, second[name], { rtol = 0, atol = 0 })), op .. " " .. name)
      end
    end
  end)
end)

it("the validation layers are silent", vulkan.assert_silent)
