-- The score kit on Vulkan: softmax, cog and ssa against their golden vectors and against the CPU.
local cjson = require "cjson"
local rapt = require "rapt"
local uv = require "luv"
local vulkan = require "vulkan_helper"

local golden = assert(os.getenv("RAPT_GOLDEN"), "RAPT_GOLDEN must name the folder of golden vectors")

-- Of the greatest absolute reference value: outputs, gradients.
local tolerances = { f32 = { 2e-5, 1e-4 }, f16 = { 4e-3, 1.5e-2 }, bf16 = { 4e-3, 1.5e-2 } }

-- Gradients may cancel to zeros.
local function matches(reference, t, tolerance, what)
  vulkan.matches(reference, t, tolerance, what, 1e-7)
end
local transposed = vulkan.transposed

-- Outputs and gradients on `device`. `inputs` are float32 on the CPU; those that `kept` names stay so
-- in type. Gradients of outputs are given on the CPU, as float32.
local function run(case, device, dtype, arrange)
  local inputs, leaves, result = {}, {}, {}
  for name, t in pairs(case.inputs) do
    local there = t
    if not case.kept[name] then there = there:to(dtype) end
    there = there:to(device)
    if case.kept[name] ~= "border" then
      leaves[name] = there:clone():requires_grad_()
      inputs[name] = case.kept[name] and leaves[name] or arrange(leaves[name])
    else
      inputs[name] = there
    end
  end
  local attrs = {}
  for name, value in pairs(case.attrs) do attrs[name] = value end
  if case.grad_lse then attrs.returns = { "lse" } end
  local o, extra = rapt.call(case.op, inputs, attrs)
  assert.equal(dtype, o.dtype)
  assert.equal(device, o.device)
  result.o = o:detach():to("cpu"):to("f32")
  local loss = not case.alone and (o:to("cpu"):to("f32") * case.grad):sum()
  if case.grad_lse then
    result.lse = extra.lse:detach():to("cpu")
    local of_lse = (extra.lse:to("cpu") * case.grad_lse):sum()
    loss = loss and loss + of_lse or of_lse
  end
  loss:backward()
  for name, t in pairs(leaves) do
    result["d" .. name] = t.grad and t.grad:to("cpu"):to("f32")
  end
  return result
end

local function compare(case, dtype, arrange)
  local rounded = {}
  for name, t in pairs(case.inputs) do
    rounded[name] = case.kept[name] and t or t:to(dtype):to("f32")
  end
  local exact = { op = case.op, inputs = rounded, kept = case.kept, attrs = case.attrs,
    grad = case.grad:to(dtype):to("f32"), grad_lse = case.grad_lse, alone = case.alone }
  local same = setmetatable({ grad = exact.grad }, { __index = case })
  local reference = run(exact, "cpu", "f32", arrange)
  local found = run(same, vulkan.device, dtype, arrange)
  for name, t in pairs(reference) do
    local tolerance = tolerances[dtype][(name == "o" or name == "lse") and 1 or 2]
    matches(t, found[name], tolerance, name)
  end
  return found
end

local function identical(a, b)
  for name, t in pairs(a) do
    assert.is_true((rapt.allclose(t, b[name], { rtol = 0, atol = 0 })), name .. " has other bits")
  end
end

local function same(t) return t end

local names = { "softmax_basic", "softmax_causal_gqa", "softmax_cross_bias", "cog_basic", "cog_causal",
  "cog_decode", "ssa_basic", "ssa_causal" }

-- A software driver takes seconds to compile what a type and a set of options need: each is met
-- somewhere, not all with all.
local halves = { softmax_causal_gqa = "bf16" }

describe("golden vectors on Vulkan:", function()
  for _, name in ipairs(names) do
    local file = golden .. "/" .. name .. ".safetensors"
    local tensors, metadata = rapt.load(file), rapt.metadata(file)
    local case = { op = metadata.op, attrs = cjson.decode(metadata.attrs), inputs = {}, kept = {},
      grad = tensors["do"] }
    for input, t in pairs(tensors) do
      if tensors["d" .. input] and input ~= "o" then case.inputs[input] = t end
    end
    it(name .. " f32", function()
      for what, t in pairs(run(case, vulkan.device, "f32", same)) do
        matches(tensors[what], t, what == "o" and 2e-5 or 1e-4, what)
      end
    end)
    if halves[name] then
      it(name .. " " .. halves[name], function() compare(case, halves[name], transposed) end)
    end
  end
end)

-- Sizes and what a case has besides q, k, v; `options` add inputs or attributes.
local options = {}

function options.causal(case) case.attrs.causal = true end
function options.window(case) case.attrs.window = { 9, 4 } end
function options.softcap(case) case.attrs.softcap = 1.5 end
function options.scale(case) case.attrs.scale = 0.3 end

function options.bias(case, s)
  case.inputs.bias = rapt.randn(s.B, s.H, s.N, s.M)
end

function options.bias_heads(case, s)
  case.inputs.bias = rapt.randn(1, s.H, 1, s.M)
  case.kept.bias = "f32"
end

function options.bias_queries(case, s)
  case.inputs.bias = rapt.randn(s.B, 1, s.N, 1)
end

function options.bias_one(case)
  case.inputs.bias = rapt.randn(1, 1, 1, 1)
  case.kept.bias = "f32"
end

function options.mask(case, s)
  local open = rapt.full({ 1, 1, s.N, s.M }, 0.5)
  case.inputs.bias = rapt.where(rapt.rand(1, 1, s.N, s.M):gt(0.3), open, open - 1 / 0)
  case.kept.bias = "f32"
end

function options.alibi(case, s)
  case.inputs.alibi, case.kept.alibi = rapt.rand(s.H) * 0.2, "f32"
end

function options.sink(case, s)
  case.inputs.sink, case.kept.sink = rapt.randn(s.H), "f32"
end

function options.tau(case, s)
  case.inputs.tau_q = rapt.rand(s.B, s.H, s.N) + 0.5
  case.inputs.tau_v = rapt.rand(s.B, s.H, s.M) + 0.5
end

function options.packed(case, s)
  local a, b = s.N // 3, s.M // 2
  case.inputs.cu_seqlens_q = rapt.tensor({ 0, a, a, s.N - 2, s.N }, { dtype = "i32" })
  case.inputs.cu_seqlens_k = rapt.tensor({ 0, b, b + 1, b + 1, s.M }, { dtype = "i64" })
  case.kept.cu_seqlens_q, case.kept.cu_seqlens_k = "border", "border"
end

function options.lse(case, s) case.grad_lse = rapt.randn(s.B, s.H, s.N) end

function options.only_lse(case, s)
  options.lse(case, s)
  case.alone = true
end

local function case_of(op, s, list)
  local case = { op = op, attrs = {}, kept = {}, inputs = {
    q = rapt.randn(s.B, s.H, s.N, s.D), k = rapt.randn(s.B, s.G, s.M, s.D),
    v = rapt.randn(s.B, s.G, s.M, s.E) }, grad = rapt.randn(s.B, s.H, s.N, s.E) }
  for _, option in ipairs(list) do options[option](case, s) end
  return case
end

local function sizes(B, H, G, N, M, D, E) return { B = B, H = H, G = G, N = N, M = M, D = D, E = E } end

-- Shapes: around the tiles of 32 or 8 rows and 64 columns, blocks of 64 features, groups of heads.
local shapes = {
  { "one of each", sizes(1, 1, 1, 1, 1, 1, 1) },
  { "odd sizes", sizes(2, 3, 3, 33, 65, 17, 5) },
  { "groups of heads", sizes(2, 4, 2, 37, 37, 16, 24) },
  { "few queries, many keys", sizes(1, 4, 2, 2, 600, 16, 32) },
  { "one query", sizes(2, 6, 2, 1, 130, 33, 16) },
  { "few queries of many heads", sizes(1, 12, 1, 5, 70, 8, 8) },
  { "more queries than keys", sizes(1, 2, 1, 70, 19, 20, 50) },
}

-- Operator, options, type, whether with few queries too. Those that differ in no more than the shape
-- of a bias and in attributes share their compiled code.
local pairs_of = {
  { "softmax", { "bias", "alibi", "softcap", "sink", "causal" }, "f32", true },
  { "softmax", { "bias_heads", "alibi", "softcap", "sink", "window", "lse" }, "f32" },
  { "softmax", { "bias_queries", "alibi", "softcap", "sink", "scale" }, "f32" },
  { "softmax", { "bias_one", "alibi", "softcap", "sink", "lse" }, "f32" },
  { "softmax", { "mask", "causal" }, "f32" },
  { "ssa", { "tau", "packed", "alibi", "causal" }, "f32", true },
  { "ssa", { "tau", "bias_heads", "lse" }, "bf16" },
  { "cog", { "packed", "sink", "window", "softcap" }, "f16" },
}

describe("the score kit on Vulkan", function()
  local cases = {}
  before_each(function() rapt.manual_seed(7) end)

  for i, shape in ipairs(shapes) do
    for _, list in ipairs { {}, { "causal" } } do
      local op = ({ "softmax", "cog" })[i % 2 + 1]
      it(("agrees with the CPU: %s, %s %s"):format(op, shape[1], table.concat(list)), function()
        compare(case_of(op, shape[2], list), "f32", transposed)
      end)
    end
  end

  it("agrees with the CPU: wide heads", function()
    local case = case_of("softmax", sizes(1, 1, 1, 34, 70, 256, 130), {})
    local there = {}
    for name, t in pairs(case.inputs) do there[name] = t:to(vulkan.device) end
    matches(rapt.call("softmax", case.inputs), rapt.call("softmax", there):to("cpu"), 2e-5, "o")
  end)

  local s = sizes(2, 4, 2, 41, 75, 12, 20)
  for _, pair in ipairs(pairs_of) do
    local op, list, dtype = pair[1], pair[2], pair[3]
    local text = op .. " with " .. table.concat(list, ", ") .. ", " .. dtype
    local batches = table.concat(list):find "packed" and 1 or s.B
    it(text, function()
      compare(case_of(op, sizes(batches, s.H, s.G, s.N, s.M, s.D, s.E), list), dtype, same)
    end)
    if pair[4] then
      it(text .. ", few queries", function()
        compare(case_of(op, sizes(batches, s.H, s.G, 3, 301, s.D, s.E), list), dtype, same)
      end)
    end
    cases[#cases + 1] = { op, list, dtype, batches }
  end

  it("agrees with the CPU by cooperative matrices", function()
    -- Where the device has none they are emulated in shared memory, if the environment says so.
    local coop = sizes(2, 4, 2, 75, 100, 32, 16)
    local case = case_of("cog", coop, { "causal", "lse" })
    local there = {}
    for name, t in pairs(case.inputs) do there[name] = t:to("f16"):to(vulkan.device) end
    assert.truthy(rapt.explain("cog", there):find("vulkan.coopmat: would run", 1, true))
    local first = compare(case, "f16", same)
    compare(setmetatable({ grad = case.grad * 1e-3, grad_lse = case.grad_lse * 1e-3 }, { __index = case }),
      "f16", transposed)
    identical(first, run(case, vulkan.device, "f16", same))
    -- Rows that begin anywhere.
    local shifted = {}
    for name, t in pairs(there) do
      local here = t:to("cpu")
      local wide = rapt.cat(here:narrow(4, 1, 1), here, { dim = 4 }):to(vulkan.device)
      shifted[name] = wide:narrow(4, 2, t.shape[4])
    end
    assert.same(rapt.call("cog", there):to("cpu"):totable(), rapt.call("cog", shifted):to("cpu"):totable())
  end)

  -- Queries, keys, values and biases with rows of NaN behind the last of each head: nothing comes of these.
  local function guarded(t)
    if #t.shape ~= 4 then return t end
    local rows, behind = t.shape[3], { table.unpack(t.shape) }
    behind[3] = 40
    local wide = rapt.cat(t, rapt.full(behind, 0 / 0):to(t.dtype):to(t.device), { dim = 3 })
    return wide:narrow(3, 1, rows)
  end

  for _, of in ipairs {
    { "softmax", { "window", "sink", "lse" }, sizes(1, 2, 1, 100, 110, 16, 32), guarded },
    { "cog", { "packed", "causal", "softcap" }, sizes(1, 2, 2, 140, 150, 16, 16), guarded },
    { "ssa", { "tau", "window" }, sizes(1, 4, 2, 70, 90, 16, 16), guarded },
    { "softmax", { "bias", "alibi", "causal" }, sizes(1, 2, 1, 66, 70, 32, 32), guarded },
    { "softmax", { "only_lse" }, sizes(1, 1, 1, 65, 64, 16, 16), same },
    { "cog", {}, sizes(1, 1, 1, 64, 19, 112, 80), guarded },
  } do
    local with = table.concat(of[2], ", ")
    it(("by cooperative matrices: %s with %s, D=%d"):format(of[1], with, of[3].D), function()
      local case = case_of(of[1], of[3], of[2])
      local there = {}
      for name, t in pairs(case.inputs) do
        there[name] = (case.kept[name] and t or t:to("f16")):to(vulkan.device)
      end
      assert.truthy(rapt.explain(of[1], there):find("vulkan.coopmat: would run", 1, true))
      compare(case, "f16", of[4])
    end)
  end

  it("agrees with the CPU by cooperative matrices in two parts, as wide heads are", function()
    local emulated = os.getenv "RAPT_VULKAN_EMULATE_COOPMAT"
    if emulated then uv.os_setenv("RAPT_VULKAN_EMULATE_COOPMAT", "parts") end -- of heads that fit in 32 KiB
    local wide = emulated and sizes(1, 2, 1, 75, 100, 64, 32) or sizes(1, 2, 1, 75, 100, 128, 96)
    local fine, message = pcall(function()
      local case = case_of("ssa", wide, { "causal", "alibi", "lse" })
      local there = {}
      for name, t in pairs(case.inputs) do
        there[name] = (name == "alibi" and t or t:to("f16")):to(vulkan.device)
      end
      assert.truthy(rapt.explain("ssa", there):find("vulkan.coopmat: would run", 1, true))
      identical(compare(case, "f16", same), run(case, vulkan.device, "f16", same))
    end)
    if emulated then uv.os_setenv("RAPT_VULKAN_EMULATE_COOPMAT", emulated) end
    assert(fine, message)
  end)

  it("gives the same bits twice", function()
    for _, of in ipairs(cases) do
      local case = case_of(of[1], sizes(of[4], s.H, s.G, s.N, s.M, s.D, s.E), of[2])
      identical(run(case, vulkan.device, of[3], same), run(case, vulkan.device, of[3], same))
    end
  end)

  it("gives zeros and a log-sum-exp of -inf to rows without keys", function()
    local o, extra = rapt.call("softmax", {
      q = rapt.randn(1, 1, 3, 4):to(vulkan.device), k = rapt.randn(1, 1, 1, 4):to(vulkan.device),
      v = rapt.randn(1, 1, 1, 4):to(vulkan.device) }, { causal = true, returns = { "lse" } })
    local rows, lse = o:to("cpu"):totable()[1][1], extra.lse:to("cpu"):totable()[1][1]
    assert.same({ 0, 0, 0, 0 }, rows[1])
    assert.same({ 0, 0, 0, 0 }, rows[2])
    assert.equal(-1 / 0, lse[1])
    assert.equal(-1 / 0, lse[2])
    assert.is_true(lse[3] > -100)
  end)

  it("takes tensors without elements", function()
    for _, shape in ipairs { sizes(0, 2, 1, 3, 3, 4, 4), sizes(1, 2, 1, 0, 3, 4, 4),
      sizes(1, 2, 1, 3, 0, 4, 4), sizes(1, 2, 1, 3, 3, 0, 4), sizes(1, 2, 1, 3, 3, 4, 0) } do
      compare(case_of("softmax", shape, { "sink", "scale" }), "f32", same)
    end
  end)

  it("shows the matrix of weights", function()
    for dtype, pair in pairs { f32 = { "cog", { "causal" } }, bf16 = { "ssa", { "tau" } } } do
      for _, size in ipairs { s, sizes(1, 4, 2, 3, 301, 8, 8) } do
        local case = case_of(pair[1], size, pair[2])
        local here, there = {}, {}
        for name, t in pairs(case.inputs) do
          here[name], there[name] = t:to(dtype):to("f32"), t:to(dtype):to(vulkan.device)
        end
        matches(rapt.weights(case.op, here, case.attrs),
          rapt.weights(case.op, there, case.attrs):to("cpu"), 1e-4, "weights")
      end
    end
  end)

  it("decodes", function()
    local case = case_of("softmax", sizes(2, 4, 2, 6, 6, 16, 8), {})
    local there = {}
    for name, t in pairs(case.inputs) do there[name] = t:to(vulkan.device) end
    local whole = rapt.call("softmax", case.inputs, { causal = true })
    local state = rapt.state("softmax", { q = there.q:narrow(3, 1, 3), k = there.k:narrow(3, 1, 3),
      v = there.v:narrow(3, 1, 3) })
    for n = 4, 6 do
      local o = state:step { q = there.q:narrow(3, n, 1), k = there.k:narrow(3, n, 1),
        v = there.v:narrow(3, n, 1) }
      matches(whole:narrow(3, n, 1), o:to("cpu"), 2e-5, "step " .. n)
    end
  end)

  it("refuses heads too wide, and says so", function()
    local x = rapt.zeros(1, 1, 2, 257):to(vulkan.device)
    local ok, message = pcall(rapt.call, "softmax", { q = x, k = x, v = x })
    assert.is_false(ok)
    assert.truthy(tostring(message):find("at most 256 features", 1, true), tostring(message))
  end)

  it("leaves the validation layers silent", function() vulkan.assert_silent() end)
end)
