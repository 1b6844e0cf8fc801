-- What shapes, hides and sums the scores of mta on the Vulkan device: bias, softcap, alibi, window,
-- packed sequences, sink and lse, against the CPU's numbers and gradients.
local rapt = require "rapt"
local vulkan = require "vulkan_helper"

-- Of the greatest absolute reference value: outputs, gradients.
local tolerances = { f32 = { 2e-5, 1e-4 }, f16 = { 4e-3, 1.5e-2 }, bf16 = { 1.5e-2, 3e-2 } }

-- Gradients may cancel to zeros.
local function matches(reference, t, tolerance, what)
  vulkan.matches(reference, t, tolerance, what, 1e-6)
end

-- What stays in its type beside 16 bits, and what has no gradient.
local kept = { alibi = true, sink = true, bias_f32 = true }
local borders = { cu_seqlens_q = true, cu_seqlens_k = true }

-- Outputs and gradients on a device. A case has inputs (float32 on the CPU), attrs, and the gradients
-- of the outputs, grad and grad_lse; without one of these that output takes no part.
local function run(case, device, dtype)
  local inputs, leaves, result = {}, {}, {}
  for name, t in pairs(case.inputs) do
    if borders[name] then
      inputs[name] = t:to(device)
    else
      local there = kept[name] and t or t:to(dtype)
      name = name == "bias_f32" and "bias" or name
      leaves[name] = there:to(device):clone():requires_grad_()
      inputs[name] = leaves[name]
      -- Queries as they come out of B N H D.
      if name == "q" then inputs.q = leaves.q:transpose(2, 3):contiguous():transpose(2, 3) end
    end
  end
  local attrs = { scale = 0.7 }
  for name, value in pairs(case.attrs) do attrs[name] = value end
  if case.grad_lse then attrs.returns = { "lse" } end
  local o, extra = rapt.call("mta", inputs, attrs)
  assert.equal(dtype, o.dtype)
  assert.equal(device, o.device)
  result.o = o:detach():to("cpu"):to("f32")
  local loss = case.grad and (o:to("cpu"):to("f32") * case.grad):sum()
  if case.grad_lse then
    result.lse = extra.lse:detach():to("cpu")
    -- What sees nothing has no lse to take part with.
    local seen = result.lse:gt(-1e30)
    local lse = rapt.where(seen, extra.lse:to("cpu"), rapt.zeros(table.unpack(result.lse.shape)))
    result.lse = rapt.where(seen, result.lse, rapt.full(result.lse.shape, -100))
    loss = loss and loss + (lse * case.grad_lse):sum() or (lse * case.grad_lse):sum()
  end
  loss:backward()
  for name, t in pairs(leaves) do
    result["d" .. name] = t.grad and t.grad:to("cpu"):to("f32") or rapt.zeros(table.unpack(t.shape))
  end
  return result
end

local function agrees(case, dtype)
  local rounded = {}
  for name, t in pairs(case.inputs) do
    rounded[name] = (kept[name] or borders[name]) and t or t:to(dtype):to("f32")
  end
  local reference = run({ inputs = rounded, attrs = case.attrs, grad_lse = case.grad_lse,
    grad = case.grad and case.grad:to(dtype):to("f32") }, "cpu", "f32")
  local found = run(case, vulkan.device, dtype)
  for name, t in pairs(reference) do
    matches(t, found[name], tolerances[dtype][(name == "o" or name == "lse") and 1 or 2], name)
  end
  return found
end

local options = {}

function options.bias(case, s) case.inputs.bias = rapt.randn(s.B, s.H, s.N, s.M) end
function options.bias_heads(case, s) case.inputs.bias_f32 = rapt.randn(1, s.H, 1, s.M) end
function options.bias_queries(case, s) case.inputs.bias_f32 = rapt.randn(s.B, 1, s.N, 1) end
function options.bias_one(case) case.inputs.bias_f32 = rapt.randn(1, 1, 1, 1) end
function options.bias_matrix(case, s) case.inputs.bias_f32 = rapt.randn(1, 1, s.N, s.M) end
function options.softcap(case) case.attrs.softcap = 1.5 end
function options.alibi(case, s) case.inputs.alibi = rapt.rand(s.H) * 0.2 end
function options.sink(case, s) case.inputs.sink = rapt.randn(s.H) end
function options.lse(case, s) case.grad_lse = rapt.randn(s.B, s.H, s.N) end
function options.lse_alone(case, s) case.grad, case.grad_lse = nil, rapt.randn(s.B, s.H, s.N) end
function options.window(case) case.attrs.window = { 9, 4 } end
function options.past(case) case.attrs.window = { 70, -1 } end
function options.open(case) case.attrs.causal = false end

-- Of the sizes `long`. Some have no queries or no keys; kernels would reach from each into the next.
function options.packed(case)
  case.inputs.cu_seqlens_q = rapt.tensor({ 0, 47, 47, 62, 62, 94, 141 }, { dtype = "i32" })
  case.inputs.cu_seqlens_k = rapt.tensor({ 0, 75, 75, 107, 108, 108, 150 }, { dtype = "i64" })
end

-- Kernels as in vulkan_agent_mta_spec, so that what is compiled there serves here, too.
local kernels = { a = 2, b = 5, r = 3, s = 1, c = 4 }

local function case_of(s, list)
  rapt.manual_seed(s.N * 31 + s.M)
  local case = { attrs = {}, inputs = {
    q = rapt.randn(s.B, s.H, s.N, s.D), k = rapt.randn(s.B, s.G, s.M, s.D),
    v = rapt.randn(s.B, s.G, s.M, s.E),
  }, grad = rapt.randn(s.B, s.H, s.N, s.E) }
  if s.a then case.inputs.qk_kernel = rapt.randn(s.H, s.a, s.b) * 0.3 end
  if s.r then case.inputs.qk_kernel_post = rapt.randn(s.H, s.r, s.s) * 0.3 end
  if s.c then case.inputs.head_kernel = rapt.randn(s.H // s.c, s.c, s.c) * 0.5 end
  for _, option in ipairs(list) do options[option](case, s) end
  return case
end

local function sizes(B, H, G, N, M, D, E, with)
  local s = { B = B, H = H, G = G, N = N, M = M, D = D, E = E }
  for name, value in pairs(with or {}) do s[name] = value end
  return s
end

local some = sizes(2, 4, 2, 37, 70, 6, 10, kernels)
local plain = sizes(2, 4, 2, 19, 21, 5, 3)
local long = sizes(1, 4, 2, 141, 150, 6, 10, kernels)
local late = sizes(1, 4, 2, 30, 13, 6, 10, kernels)

-- Options, sizes, type. A software driver takes seconds to compile what a set of options needs: each
-- is met somewhere, not all with all.
local cases = {
  { { "bias", "softcap", "alibi" }, some, "f32" },
  { { "bias_heads", "softcap", "alibi", "open" }, some, "f32" },
  { { "bias_queries", "softcap", "alibi" }, plain, "f32" },
  { { "bias_one", "softcap", "alibi" }, long, "f32" },
  { { "bias_matrix", "softcap", "sink" }, some, "bf16" },
  { { "sink", "lse" }, late, "f32" },
  { { "sink", "lse_alone" }, plain, "f32" },
  { { "window", "open" }, some, "f32" },
  { { "past", "sink", "lse", "alibi" }, long, "f32" },
  { { "window", "lse", "open" }, late, "f32" },
  { { "packed", "alibi" }, long, "f32" },
  { { "packed", "window", "open", "sink", "lse" }, long, "f32" },
  { { "packed", "bias", "softcap", "past", "lse" }, long, "f16" },
}

-- Of a tensor on the device, whether all of it is finite.
local function is_finite(t)
  local greatest = t:to("cpu"):abs():max():item()
  local sum = t:to("cpu"):sum():item()
  return greatest < 1e30 and sum == sum
end

describe("mta on Vulkan", function()
  for _, case in ipairs(cases) do
    local list, s, dtype = case[1], case[2], case[3]
    it(("agrees with the CPU: %s, N = %d, %s"):format(table.concat(list, ", "), s.N, dtype), function()
      agrees(case_of(s, list), dtype)
    end)
  end

  it("shows its weights", function()
    for _, list in ipairs { { "bias", "softcap", "alibi", "past" }, { "packed", "sink" } } do
      local case = case_of(long, list)
      local here, there = {}, {}
      for name, t in pairs(case.inputs) do
        if name ~= "v" then here[name], there[name] = t, t:to(vulkan.device) end
      end
      matches(rapt.weights("mta", here, case.attrs), rapt.weights("mta", there, case.attrs):to("cpu"),
        2e-5, "weights")
    end
  end)

  it("goes on position by position", function()
    local case = case_of(sizes(2, 4, 2, 14, 14, 6, 10, kernels), { "alibi", "sink", "softcap" })
    local attrs = { causal = true, softcap = 1.5, window = { 6, 0 }, returns = { "lse" } }
    local whole, others = rapt.call("mta", case.inputs, attrs)
    local there, first = {}, {}
    for name, t in pairs(case.inputs) do
      there[name] = t:to(vulkan.device)
      first[name] = #t.shape == 4 and name ~= "head_kernel" and there[name]:narrow(3, 1, 9) or there[name]
    end
    local st <close>, prefill = rapt.state("mta", first, { causal = true, softcap = 1.5, window = { 6, 0 } })
    matches(whole:narrow(3, 1, 9), prefill:to("cpu"), 2e-5, "prefill")
    assert.same({ 2, 4, 14 }, others.lse.shape)
    for i = 10, 14 do
      local rows = {}
      for _, name in ipairs { "q", "k", "v" } do rows[name] = there[name]:narrow(3, i, 1) end
      matches(whole:narrow(3, i, 1), st:step(rows):to("cpu"), 2e-5, "step " .. i)
    end
    local bias = rapt.zeros(1, 1, 1, 15):to(vulkan.device)
    local rows = { q = there.q:narrow(3, 1, 1), k = there.k:narrow(3, 1, 1), v = there.v:narrow(3, 1, 1),
      bias = bias }
    assert.error_matches(function() st:step(rows) end,
      "a decoding step takes no bias where kernels reach earlier")
  end)

  it("takes a bias in a step without kernels", function()
    local case = case_of(sizes(2, 4, 2, 7, 7, 5, 3), { "bias" })
    local whole = rapt.call("mta", case.inputs, {})
    local there = {}
    for name, t in pairs(case.inputs) do there[name] = t:to(vulkan.device) end
    local st <close> = rapt.state("mta", { q = there.q:narrow(3, 1, 6), k = there.k:narrow(3, 1, 6),
      v = there.v:narrow(3, 1, 6) }, {})
    local last = st:step { q = there.q:narrow(3, 7, 1), k = there.k:narrow(3, 7, 1),
      v = there.v:narrow(3, 7, 1), bias = there.bias:narrow(3, 7, 1) }
    matches(whole:narrow(3, 7, 1), last:to("cpu"), 2e-5, "step")
  end)

  -- They lie on the device, so that they cannot be looked at before.
  it("stays within the tensors and finite where borders are none", function()
    local bad = { { 0, 90, 30, 141 }, { -7, 100, 100, 50 }, { 150, 3, 1 << 20, 0 }, { 20, 40, 60, 80 },
      { 5 } }
    for _, q in ipairs(bad) do
      for _, k in ipairs { bad[#q == 4 and 1 or 5], bad[#q == 4 and 2 or 5] } do
        local case = case_of(long, { "packed", "alibi" })
        case.inputs.cu_seqlens_q = rapt.tensor(q, { dtype = "i32" })
        case.inputs.cu_seqlens_k = rapt.tensor(k, { dtype = "i64" })
        for name, t in pairs(run(case, vulkan.device, "f32")) do assert.is_true(is_finite(t), name) end
      end
    end
    local case = case_of(long, {})
    for _, name in ipairs { "cu_seqlens_q", "cu_seqlens_k" } do
      case.inputs[name] = rapt.zeros({ 0 }, { dtype = "i32" })
    end
    assert.error_matches(function() run(case, vulkan.device, "f32") end,
      "cu_seqlens_q must rise from 0 to N = 141, but it is empty")
  end)

  it("gives the same bits for the same input", function()
    local case = case_of(long, { "packed", "window", "open", "sink", "lse", "bias_one" })
    local first, second = run(case, vulkan.device, "f32"), run(case, vulkan.device, "f32")
    for name, t in pairs(first) do
      assert.is_true((rapt.allclose(t, second[name], { rtol = 0, atol = 0 })), name .. " has other bits")
    end
  end)

  it("leaves the validation layers silent", vulkan.assert_silent)
end)
