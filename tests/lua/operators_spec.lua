-- Attention operators from Lua: calls, descriptions, golden vectors.
local cjson = require "cjson"
local rapt = require "rapt"
local probe = require "rapt.inputs"

local golden = assert(os.getenv("RAPT_GOLDEN"), "RAPT_GOLDEN must name the folder of golden vectors")

-- Within `tolerance` of the greatest absolute reference value.
local function matches(reference, t, tolerance, what)
  local greatest = reference:abs():max():item()
  local ok, err = rapt.allclose(t, reference, { rtol = 0, atol = tolerance * greatest })
  assert.is_true(ok, ("%s is off by %g of at most %g"):format(what, err, tolerance * greatest))
end

local cases = { "softmax_basic", "softmax_causal_gqa", "softmax_cross_bias", "cog_basic", "cog_causal",
  "cog_decode", "ssa_basic", "ssa_causal" }

-- The same values with other strides: B H N D as it comes out of B N H D.
local function transposed(t) return t:transpose(2, 3):contiguous():transpose(2, 3) end

-- The output and the gradients of a case in `dtype`, with the layout that `arrange` makes.
local function run(op, attrs, tensors, dtype, arrange)
  local inputs, leaves, result = {}, {}, {}
  for name, t in pairs(tensors) do
    if tensors["d" .. name] and name ~= "o" then
      leaves[name] = t:to(dtype):clone():requires_grad_()
      inputs[name] = arrange(leaves[name])
    end
  end
  local o = rapt.call(op, inputs, attrs)
  assert.equal(dtype, o.dtype)
  result.o = o:detach()
  o:backward(arrange(tensors["do"]:to(dtype)))
  for name, t in pairs(leaves) do result["d" .. name] = t.grad end
  return result
end

local layouts = { contiguous = function(t) return t end, transposed = transposed }

describe("golden vectors", function()
  for _, case in ipairs(cases) do
    local file = golden .. "/" .. case .. ".safetensors"
    local tensors, metadata = rapt.load(file), rapt.metadata(file)
    local op, attrs = metadata.op, cjson.decode(metadata.attrs)
    for layout, arrange in pairs(layouts) do
      it(("%s %s"):format(case, layout), function()
        for name, t in pairs(run(op, attrs, tensors, "f32", arrange)) do
          matches(tensors[name], t, name == "o" and 2e-5 or 1e-4, name)
        end
      end)

      -- Rounding the inputs moves the answer (cog has a step where a score changes its sign), so the
      -- reference is float32, which the test above vouches for, on the rounded inputs.
      for dtype, tolerance in pairs { f16 = 4e-3, bf16 = 1.5e-2 } do
        it(("%s %s %s"):format(case, layout, dtype), function()
          local rounded = {}
          for name, t in pairs(tensors) do rounded[name] = t:to(dtype):to("f32") end
          local reference = run(op, attrs, rounded, "f32", arrange)
          for name, t in pairs(run(op, attrs, tensors, dtype, arrange)) do
            matches(reference[name], t:to("f32"), tolerance, name)
          end
        end)
      end
    end
  end
end)

describe("calls", function()
  local q, k, v = rapt.randn(1, 2, 5, 4), rapt.randn(1, 2, 5, 4), rapt.randn(1, 2, 5, 4)

  it("have two forms", function()
    local a = rapt.ops.cog { q = q, k = k, v = v, causal = true }
    local b, extra = rapt.call("cog", { q = q, k = k, v = v }, { causal = true })
    assert.same(a:totable(), b:totable())
    assert.same({}, extra)
    assert.same(a:totable(), (rapt.call("cog", { q = q, k = k, v = v, causal = true })):totable())
    assert.is_true(rapt.ops.cog == rapt.ops.cog)
  end)

  it("take whole floats for integers and integers for floats", function()
    assert.same(rapt.ops.cog({ q = q, k = k, v = v, scale = 1 }):totable(),
      rapt.ops.cog({ q = q, k = k, v = v, scale = 2 / 2 }):totable())
  end)

  it("give optional outputs that are asked for", function()
    local lse
    for _, output in ipairs(rapt.describe("softmax").outputs) do
      lse = lse or output.optional and output.name
    end
    if lse then
      local y, extra = rapt.ops.softmax { q = q, k = k, v = v, returns = { lse } }
      assert.same({ 1, 2, 5, 4 }, y.shape)
      assert.is_true(rapt.is_tensor(extra[lse]))
    end
    assert.equal(1, select("#", rapt.ops.softmax { q = q, k = k, v = v }))
  end)

  it("reach the core's operators by name", function()
    assert.same({ 3 }, rapt.call("core.add", { a = rapt.tensor { 1 }, b = rapt.tensor { 2 } }):totable())
    assert.same({ 3 }, rapt.ops["core.add"]({ a = rapt.tensor { 1 }, b = 2 }):totable())
    assert.same({ 4, 6 }, rapt.call("core.sum", { x = rapt.tensor { { 1, 2 }, { 3, 4 } } },
      { dims = { 1 } }):totable())
  end)
end)

-- Each size in turn is 0: a result with gradients, or an error that says what is needed.
describe("sizes of nothing", function()
  local function differentiate(op, description, letters)
    local sizes = probe.sizes(description, letters)
    local _, given = probe.parse_example(description.example)
    for name, t in pairs(probe.make(description, sizes, given, { dtype = "f32", device = "cpu" })) do
      given[name] = t.dtype == "f32" and t:requires_grad_() or t
    end
    for _, attribute in ipairs(description.attrs) do
      if attribute.name == "scale" and letters.D then given.scale = 1 end -- the default divides by it
    end
    local y = rapt.ops[op](given)
    y:backward(rapt.ones(table.unpack(y.shape)))
    for name, t in pairs(given) do
      if rapt.is_tensor(t) and t.grad then assert.same(t.shape, t.grad.shape, name) end
    end
  end

  for _, op in ipairs(rapt.operators()) do
    it("are fine with " .. op, function()
      local description, fine = rapt.describe(op), 0
      for letter in pairs(probe.sizes(description, {})) do
        local ok, err = pcall(differentiate, op, description, { [letter] = 0 })
        fine = fine + (ok and 1 or 0)
        if not ok then assert.truthy(tostring(err):find(op .. ": needs ", 1, true), err) end
      end
      assert.is_true(fine >= 4)
    end)
  end
end)

describe("lists", function()
  it("name the attention operators, or all", function()
    local names, all = rapt.operators(), rapt.operators("all")
    local seen = {}
    for _, name in ipairs(names) do seen[name] = true end
    assert.is_true(seen.softmax and seen.cog)
    assert.is_nil(seen["core.add"])
    assert.is_true(#all > #names)
    assert.same((function()
      local sorted = { table.unpack(all) }
      table.sort(sorted)
      return sorted
    end)(), all)
    local walked = {}
    for name, call in pairs(rapt.ops) do
      assert.is_function(call)
      walked[#walked + 1] = name
    end
    assert.same(names, walked)
  end)

  it("tell about plugins and devices", function()
    local by_name = {}
    for _, plugin in ipairs(rapt.plugins()) do by_name[plugin.name] = plugin end
    local cog = by_name.cog
    assert.same({ "cog" }, cog.operators)
    assert.is_nil(cog.error)
    assert.equal("/", cog.path:sub(1, 1))
    assert.equal(64, #cog.hash)
    assert.equal("1.0", cog.abi)
    assert.equal("cpu", rapt.devices()[1].name)
    assert.is_true(rapt.devices()[1].available)
    assert.is_string(rapt.devices()[1].model)
    rapt.synchronize()
    rapt.synchronize("cpu")
  end)
end)

describe("describe", function()
  it("gives the whole description", function()
    local d = rapt.describe("cog")
    assert.equal("cog", d.name)
    assert.is_truthy(d.paper:find("2411.07176", 1, true))
    assert.is_string(d.doc)
    assert.is_string(d.title)
    assert.equal("q", d.inputs[1].name)
    assert.equal("B H N D", d.inputs[1].shape)
    assert.equal("stream", d.inputs[1].role)
    assert.is_true(d.inputs[1].differentiable)
    assert.is_false(d.inputs[1].optional)
    assert.equal("o", d.outputs[1].name)
    local attrs = {}
    for _, attr in ipairs(d.attrs) do attrs[attr.name] = attr end
    assert.equal("bool", attrs.causal.type)
    assert.equal("false", attrs.causal.default)
    assert.equal("float", attrs.scale.type)
    assert.is_string(attrs.scale.doc)
    assert.is_true(d.causal and d.full and d.cross and d.decode and d.weights)
    assert.equal("cpu", d.kernels[1].device)
    assert.is_true(d.kernels[1].backward)
    local dtypes = {}
    for _, kernel in ipairs(d.kernels) do
      for _, dtype in ipairs(kernel.dtypes) do dtypes[dtype] = true end
    end
    assert.is_true(dtypes.f32 and dtypes.f16 and dtypes.bf16)
    assert.is_string(d.flops)
    assert.is_true(#d.states > 0)
    for _, name in ipairs(rapt.operators("all")) do assert.is_string(rapt.describe(name).doc, name) end
  end)
end)

describe("explain, weights, cost", function()
  local q, k, v = rapt.randn(1, 2, 5, 4), rapt.randn(1, 2, 5, 4), rapt.randn(1, 2, 5, 4)

  it("explains", function()
    local text = rapt.explain("cog", { q = q, k = k, v = v })
    assert.is_truthy(text:find("cpu", 1, true))
    assert.is_string(rapt.explain("cog", { q = q, k = k, v = v }, { causal = true }))
  end)

  it("shows the weights", function()
    local w = rapt.weights("softmax", { q = q, k = k }, { causal = true })
    assert.same({ 1, 2, 5, 5 }, w.shape)
    assert.is_true((rapt.allclose(w:sum(-1), rapt.ones(1, 2, 5))))
    assert.equal(0, w[{ 1, 1, 1, 2 }]:item())
    local o = rapt.ops.softmax { q = q, k = k, v = v, causal = true }
    assert.is_true((rapt.allclose(rapt.matmul(w, v), o)))
    local c = rapt.weights("cog", { q = q, k = k })
    assert.is_true((rapt.allclose(c:abs():sum(-1), rapt.ones(1, 2, 5))))
  end)

  it("counts the work", function()
    local full = rapt.cost("softmax", { q = q, k = k, v = v })
    local causal = rapt.cost("softmax", { q = q, k = k, v = v }, { causal = true })
    assert.equal(25, full.pairs)
    assert.equal(15, causal.pairs)
    assert.equal(25, causal.pairs_all)
    assert.is_true(full.flops > causal.flops and causal.flops > 0)
    assert.is_true(full.flops_backward > full.flops)
    assert.is_true(full.bytes >= 4 * 4 * 40)
  end)
end)

describe("rapt.ops.merge", function()
  it("makes one attention of two over disjoint keys", function()
    local q, k, v = rapt.randn(1, 2, 5, 8), rapt.randn(1, 2, 9, 8), rapt.randn(1, 2, 9, 4)
    local function part(start, length)
      local o, extra = rapt.ops.softmax {
        q = q, k = k:narrow(3, start, length), v = v:narrow(3, start, length), returns = { "lse" },
      }
      return o, extra.lse
    end
    local a, a_lse = part(1, 4)
    local b, b_lse = part(5, 5)
    local want, want_lse = part(1, 9)
    local o, extra = rapt.ops.merge { a = a, a_lse = a_lse, b = b, b_lse = b_lse }
    matches(want, o, 1e-6, "o")
    matches(want_lse, extra.lse, 1e-6, "lse")
  end)

  it("is refused without log-sum-exps", function()
    local a = rapt.ones(1, 2, 5, 8)
    assert.error_matches(function() rapt.ops.merge { a = a, b = a } end, "core.merge: missing input a_lse")
  end)
end)

describe("options of the score family", function()
  local x = rapt.randn(1, 2, 6, 8)
  local function call(op, options)
    return function()
      options.q, options.k, options.v = x, x, x
      rapt.ops[op](options)
    end
  end

  it("are refused by name where an operator does not take them", function()
    assert.error_matches(call("cog", { alibi = rapt.ones(2) }), 'cog: no input or attribute "alibi"')
    assert.error_matches(call("softmax", { tau_q = rapt.ones(1, 2, 6) }),
      'softmax: no input or attribute "tau_q"')
    assert.error_matches(call("ssa", { window = { 1 } }),
      "ssa: window is {1} but must be a list of 2 integers")
  end)

  it("narrow what a query sees, and what a call costs", function()
    local seen = rapt.weights("softmax", { q = x, k = x }, { causal = true, window = { 1, 0 } }):gt(0)
    assert.equal(2 * 11, seen:to("f32"):sum():item())
    local cost = rapt.cost("softmax", { q = x, k = x, v = x }, { causal = true, window = { 1, 0 } })
    assert.equal(11, cost.pairs)
  end)
end)
