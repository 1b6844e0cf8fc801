-- agent in float16 by cooperative matrices, which RAPT_VULKAN_EMULATE_COOPMAT=1 lends to a device that has
-- none: backward in one pass and in two. The CPU's numbers and gradients. RAPT_VULKAN_PROFILE=1 tells which
-- shaders ran.
local cjson = require "cjson"
local rapt = require "rapt"
local vulkan = require "vulkan_helper"

local golden = assert(os.getenv("RAPT_GOLDEN"), "RAPT_GOLDEN must name the folder of golden vectors")
assert(os.getenv("RAPT_VULKAN_PROFILE"), "RAPT_VULKAN_PROFILE must be set")
local emulated = os.getenv("RAPT_VULKAN_EMULATE_COOPMAT")
assert(emulated or vulkan.has "coopmat KHR", "neither KHR's matrices nor RAPT_VULKAN_EMULATE_COOPMAT")

-- Dispatches so far of the shaders whose names have `part`.
local function dispatches(part)
  local n = 0
  for _, timing in ipairs(rapt.vulkan.timings(vulkan.device)) do
    if timing.name:find(part, 1, true) then n = n + timing.dispatches end
  end
  return n
end

-- Inputs of `c`: B, H, N, M, D, E, `A` agents given, or attrs; `sink`, `r` of the convolution.
local function inputs_of(c)
  rapt.manual_seed(c.N * 17 + c.M)
  local B, H = c.B or 1, c.H or 2
  local t = {
    q = rapt.randn(B, H, c.N, c.D), k = rapt.randn(B, H, c.M, c.D), v = rapt.randn(B, H, c.M, c.E),
    ["do"] = rapt.randn(B, H, c.N, c.E) * (c.loud or 1),
  }
  -- Slopes that outgrow the power of two of the first tile of a workgroup, over and over.
  if c.rising then t["do"] = t["do"] * (rapt.arange(c.N) * 0.1 - 0.1 * c.N):exp():view(1, 1, c.N, 1) end
  if c.A then t.agents = rapt.randn(B, H, c.A, c.D) end
  if c.sink then t.sink = rapt.randn(H) end
  if c.r then t.dwc_weight = rapt.randn(H * c.E, 1, c.r, c.r) * 0.2 end
  for name, x in pairs(t) do t[name] = x:to("f16"):to("f32") end
  return t
end

-- The output and the gradients on a device, as float32 of the CPU.
local function run(t, attrs, device, arrange)
  local inputs, leaves, result = {}, {}, {}
  local dtype = device == "cpu" and "f32" or "f16"
  for name, x in pairs(t) do
    if name ~= "do" then
      leaves[name] = x:detach():to(name == "sink" and "f32" or dtype):to(device):clone():requires_grad_()
      inputs[name] = (arrange and name ~= "sink") and arrange(leaves[name]) or leaves[name]
    end
  end
  local o = rapt.call("agent", inputs, attrs)
  result.o = o:detach():to("cpu"):to("f32")
  o:backward(t["do"]:to(dtype):to(device))
  for name, x in pairs(leaves) do result["d" .. name] = x.grad:to("cpu"):to("f32") end
  return result
end

-- Also that backward took so many dispatches of each kind, which only emulation fixes: how many passes
-- and rounds it takes follows from a device's shared memory and processors. Returns what the device gave.
local function agrees(t, attrs, expected, arrange)
  local before = {}
  local reference = run(t, attrs, "cpu")
  for part in pairs(expected) do before[part] = dispatches(part) end
  local result = run(t, attrs, vulkan.device, arrange)
  for name, x in pairs(result) do vulkan.matches(reference[name], x, 4e-3, name) end
  local all = 0
  for part, count in pairs(expected) do
    local taken = dispatches(part) - before[part]
    all = all + taken
    if emulated then assert.equal(count, taken, part) end
  end
  assert.is_true(all >= 2)
  for name, x in pairs(run(t, attrs, vulkan.device, arrange)) do
    assert.is_true((rapt.allclose(x, result[name], { rtol = 0, atol = 0 })), name)
  end
  return result
end

local function case_agrees(c, expected) agrees(inputs_of(c), c.attrs or {}, expected, c.arrange) end

local one = { ["agent.back_coop"] = 2, ["agent.slopes_coop"] = 0, ["agent.moved_coop"] = 0 }
local two = { ["agent.back_coop"] = 0, ["agent.slopes_coop"] = 2, ["agent.moved_coop"] = 3 }
-- sink, softcap, agents pooled on a grid, and the convolution on it.
local function optioned(c, agents, grid)
  c.sink, c.r, c.attrs = true, 3, { n_agents = agents, grid = grid, softcap = 2 }
  return c
end

-- The tensor, with numbers behind its last row that must not be read, or weigh nothing.
local function followed_by_nan(x)
  local shape = x.shape
  shape[3] = 70
  local behind = rapt.full(shape, 0 / 0, { device = x.device, dtype = x.dtype })
  return rapt.cat(x, behind, { dim = 3 }):narrow(3, 1, x.shape[3])
end

describe("forward by cooperative matrices", function()
  -- Of whole rows nothing is asked behind the last. A workgroup keeps up to 32 agents, up to 64, or walks
  -- over more.
  for _, c in ipairs {
    { N = 1, M = 3, D = 32, E = 32, A = 20 },
    { N = 330, M = 129, D = 32, E = 48, A = 20 },
    { N = 257, M = 300, D = 96, E = 64, A = 33 },
    { N = 140, M = 70, D = 64, E = 64, A = 130 },
    { N = 65, M = 200, D = 64, E = 72, A = 64, sink = true },
    { N = 66, M = 65, D = 128, E = 128, A = 49 },
  } do
    it(("takes rows of %d features and %d agents from between others"):format(c.D, c.A), function()
      local there, here, t = {}, {}, inputs_of(c)
      for name, x in pairs(t) do
        if name ~= "do" then
          here[name] = x
          there[name] = x:to(name == "sink" and "f32" or "f16"):to(vulkan.device)
          if name ~= "sink" then there[name] = followed_by_nan(there[name]) end
        end
      end
      local o = rapt.call("agent", there):to("cpu")
      vulkan.matches(rapt.call("agent", here), o:to("f32"), 4e-3, "o")
      assert.same(o:totable(), rapt.call("agent", there):to("cpu"):totable())
    end)
  end
end)

describe("backward by cooperative matrices", function()
  it("takes one pass with all options, a workgroup several tiles", function()
    case_agrees(optioned({ B = 4, H = 4, N = 150, M = 150, D = 9, E = 30, rising = true,
      arrange = vulkan.transposed }, 16, { 10, 15 }), one)
  end)

  it("takes two passes with all options, several tiles a workgroup, and stores of some heads at a time",
    function()
      case_agrees(optioned({ B = 2, H = 4, N = 380, M = 380, D = 40, E = 19, rising = true,
        arrange = vulkan.transposed }, 64, { 20, 19 }),
        { ["agent.back_coop"] = 0, ["agent.slopes_coop"] = 4, ["agent.moved_coop"] = 6 })
    end)

  it("takes two passes of the widest heads, of large and of small gradients", function()
    for _, loud in ipairs { 300, 1e-3 } do
      case_agrees({ N = 70, M = 3, D = 128, E = 16, A = 2, loud = loud }, two)
    end
  end)

  it("takes one pass and two of whole rows, of which nothing is asked behind the last position", function()
    local arrange = followed_by_nan
    case_agrees({ B = 2, N = 200, M = 650, D = 32, E = 32, A = 49, rising = true, arrange = arrange }, one)
    case_agrees({ N = 200, M = 130, D = 64, E = 64, A = 49, rising = true, arrange = arrange }, two)
  end)

  it("makes matrices of more agents", function()
    case_agrees({ N = 20, M = 70, D = 8, E = 8, A = 65 },
      { ["agent.back_coop"] = 0, ["agent.slopes_coop"] = 0, ["agent.columns_coop"] = 3 })
  end)

  for _, case in ipairs { "agent_grid_dwc", "agent_pool1d" } do
    it("gives golden vectors: " .. case, function()
      local file = golden .. "/" .. case .. ".safetensors"
      local all, attrs, given = rapt.load(file), cjson.decode(rapt.metadata(file).attrs), {}
      for name, x in pairs(all) do
        if (all["d" .. name] and name ~= "o") or name == "do" then given[name] = x:to("f16"):to("f32") end
      end
      for name, x in pairs(agrees(given, attrs, one)) do
        vulkan.matches(all[name], x, 1e-2, name)
      end
    end)
  end
end)

it("the validation layers are silent", vulkan.assert_silent)
