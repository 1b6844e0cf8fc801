-- lightning and flow by cooperative matrices: float16, against the CPU.
local rapt = require "rapt"
local vulkan = require "vulkan_helper"

assert(os.getenv("RAPT_VULKAN_EMULATE_COOPMAT") or vulkan.has "coopmat KHR" or vulkan.has "coopmat NV",
  "neither cooperative matrices nor RAPT_VULKAN_EMULATE_COOPMAT")
local device = vulkan.device
local R = rapt.randn

local function matches(reference, t, tolerance, what)
  assert.same(reference.shape, t.shape)
  local greatest = math.max(reference:abs():max():item(), 1e-30)
  local ok, err = rapt.allclose(t, reference, { rtol = 0, atol = tolerance * greatest })
  assert.is_true(ok, ("%s is off by %g of %g"):format(what, err, greatest))
end

local function half(name) return name ~= "state" and name ~= "sums" and name ~= "slope" end

-- What a call gives on a device, and gradients fed back with `seeds`, as float32 on the host.
local function run(op, where, inputs, options, seeds, arrange)
  local call, leaves, results, loss = {}, {}, {}, nil
  for name, t in pairs(inputs) do
    local here = t:to(half(name) and "f16" or "f32"):to(where):clone()
    leaves[name] = here:requires_grad_()
    call[name] = arrange and t.ndim == 4 and arrange(here) or here
  end
  for name, value in pairs(options) do call[name] = value end
  if options.cu_seqlens_q then call.cu_seqlens_q = options.cu_seqlens_q:to(where) end
  local returns = {}
  for name in pairs(seeds) do if name ~= "o" then returns[#returns + 1] = name end end
  call.returns = returns
  local o, extra = rapt.ops[op](call)
  for name, seed in pairs(seeds) do
    local t = name == "o" and o or extra[name]
    results[name] = t:detach():to("cpu"):to("f32")
    local part = (t:to("f32") * seed:to(where)):sum()
    loss = loss and loss + part or part
  end
  loss:backward()
  for name, t in pairs(leaves) do results["d" .. name] = t.grad:to("cpu"):to("f32") end
  return results
end

local function agree(op, inputs, options, seeds, arrange)
  local reference = run(op, "cpu", inputs, options, seeds, arrange)
  local results = run(op, device, inputs, options, seeds, arrange)
  for name, t in pairs(reference) do
    matches(t, results[name], name:sub(1, 1) == "d" and 1.5e-2 or 4e-3, op .. ": " .. name)
  end
  return results
end

-- Columns of no whole run of 16; with `S` states in and out, of S sequences.
local function case(op, c)
  local B, H, N, D, E, S = c.B or 1, 2, c.N, c.D or 20, c.E or 36, c.S
  local inputs, seeds = { q = R(B, H, N, D), k = R(B, H, N, D), v = R(B, H, N, E) }, { o = R(B, H, N, E) }
  if op == "lightning" then inputs.slope = rapt.tensor { 0.05, 0.7 } end
  if not S then return inputs, seeds end
  inputs.state, seeds.final_state = R(S, H, D, E), R(S, H, D, E)
  if op == "flow" then inputs.sums, seeds.final_sums = R(S, H, 6, D):abs() + 3, R(S, H, 6, D) end
  return inputs, seeds
end

local ops = { "lightning", "flow" }

local function options_of(op, borders)
  local options = op == "flow" and { causal = true } or { scale = 0.3 }
  options.cu_seqlens_q = borders
  return options
end

-- The same values with other strides: B H N D as it comes out of B N H D.
local function transposed(t) return t:transpose(2, 3):contiguous():transpose(2, 3) end

describe("by cooperative matrices as on the CPU:", function()
  for _, op in ipairs(ops) do
    it(op .. " is chosen", function()
      local inputs = case(op, { N = 70 })
      for name, t in pairs(inputs) do inputs[name] = t:to(half(name) and "f16" or "f32"):to(device) end
      assert.truthy(rapt.explain(op, inputs, options_of(op)):find("vulkan.coopmat: would run", 1, true))
    end)

    it(op .. ", twice to the same bits", function()
      local inputs, seeds = case(op, { B = 2, N = 150 })
      local options = options_of(op)
      local first = agree(op, inputs, options, seeds, transposed)
      local again = run(op, device, inputs, options, seeds, transposed)
      for name, t in pairs(first) do assert.same(t:totable(), again[name]:totable(), name) end
    end)

    it(op .. " packed, with states in and out", function()
      local borders = rapt.tensor { 0, 1, 1, 65, 129, 200 }:to("i32")
      local inputs, seeds = case(op, { N = 200, S = 5 })
      agree(op, inputs, options_of(op, borders), seeds)
    end)

    it(op .. " of several tiles", function()
      local inputs, seeds = case(op, { N = 66, D = 72, E = 124 })
      agree(op, inputs, options_of(op), seeds)
    end)

    if op == "lightning" then
      it("states and pairs beyond what float16 holds", function()
        local inputs, seeds = case("lightning", { N = 150 })
        inputs.slope = nil
        local q, k, v = inputs.q:abs(), inputs.k:abs() * 100, inputs.v
        agree("lightning", { q = q * 1e-4, k = k, v = v:abs() * 100 }, {}, { o = seeds.o * 1e-4 })
        agree("lightning", { q = q * 100, k = k, v = v * 1e-3 }, {}, { o = seeds.o * 1e-6 })
      end)

      it("decays from none to all", function()
        for _, slope in ipairs { 50, 1e6 } do
          local inputs, seeds = case("lightning", { N = 140, S = 1 })
          inputs.slope = rapt.tensor { 0, slope }
          agree("lightning", inputs, {}, seeds)
        end
      end)
    end
  end

  it("slopes that are steep, with their gradients", function()
    local inputs, seeds = case("lightning", { N = 140 })
    inputs.slope = rapt.tensor { 4, 9 }
    agree("lightning", inputs, {}, seeds)
  end)

  it("flow that is not causal, and its gradients", function()
    for _, c in ipairs { { N = 300, D = 64 }, { N = 70, D = 128, E = 72 } } do
      local inputs, seeds = case("flow", c)
      agree("flow", inputs, {}, seeds)
    end
    local borders = rapt.tensor { 0, 1, 1, 65, 129, 200 }:to("i32")
    local inputs, seeds = case("flow", { N = 200, E = 72 })
    agree("flow", inputs, { cu_seqlens_q = borders }, seeds)
  end)

  it("what they cannot take or gain nothing from is left to the plain kernel", function()
    local function explained(op, c)
      local inputs = case(op, c)
      for name, t in pairs(inputs) do inputs[name] = t:to(half(name) and "f16" or "f32"):to(device) end
      return rapt.explain(op, inputs)
    end
    for _, c in ipairs { { D = 9, E = 4 }, { D = 136, E = 20 } } do
      local text = explained("lightning", { N = 70, D = c.D, E = c.E })
      assert.truthy(text:find("vulkan: would run", 1, true))
      assert.truthy(text:find("got D = " .. c.D .. ", E = " .. c.E, 1, true))
    end
    assert.truthy(explained("flow", { N = 70, D = 60, E = 60 }):find("vulkan: would run", 1, true))
    assert.truthy(explained("flow", { N = 70, D = 64, E = 60 }):find("vulkan.coopmat: would run", 1, true))
  end)

  it("rows that begin anywhere, by the plain shaders", function()
    local function shifted(t) return rapt.cat(t, t, { dim = 4 }):narrow(4, 2, t.shape[4]) end
    local inputs, seeds = case("lightning", { N = 70 })
    agree("lightning", inputs, {}, seeds, shifted)
  end)
end)

it("leaves the validation layers silent", vulkan.assert_silent)
