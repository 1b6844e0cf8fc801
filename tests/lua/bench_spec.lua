-- rapt.bench: inputs from descriptions, figures that agree with one another, JSON.

package.path = (debug.getinfo(1, "S").source:match("^@(.*)bench_spec%.lua$") or "") .. "?.lua;"
  .. package.path
local helper = require "cli_helper"
local inputs = require "rapt.inputs"
local rapt = require "rapt"

-- Small enough to be quick; figures of speed mean nothing here.
local function quick(request)
  request.seconds, request.peak_side = 0.001, 128
  request.B, request.H, request.N, request.D = request.B or 1, request.H or 2, request.N or 48, request.D
    or 16
  return rapt.bench(request)
end

describe("inputs", function()
  it("evaluates size expressions", function()
    local sizes, attrs = { N = 33, D = 8, L = 6 }, { cq = 3 }
    for expression, expected in pairs { N = 33, ["N?"] = 33, ["ceil_log2(N)+1"] = 7, cq = 3,
      ["min(N,D)*2"] = 16,
      ["D/2"] = 4, ["N%D"] = 1 } do
      assert.equal(expected, inputs.evaluate(expression, sizes, attrs))
    end
    assert.has_error(function() inputs.evaluate("Q", sizes, attrs) end, "'Q' has no value")
  end)

  it("fills sizes in: given, their partners, the example", function()
    local d = rapt.describe("softmax")
    local sizes = inputs.sizes(d, { B = 1, H = 6, N = 7, D = 5 })
    assert.same({ B = 1, H = 6, G = 6, N = 7, M = 7, D = 5, E = 5 }, {
      B = sizes.B, H = sizes.H, G = sizes.G, N = sizes.N, M = sizes.M, D = sizes.D, E = sizes.E })
    assert.equal(2, inputs.sizes(d, { H = 6, G = 2 }).G)
  end)

  it("makes what a stream's activation gives", function()
    local d = { name = "made", attrs = {}, example = "B=2 N=50", inputs = {
      { name = "g", spec = "g: B N", dtype = "T", role = "stream", activation = "-softplus" },
      { name = "t", spec = "t: B N", dtype = "T", role = "stream", activation = "1 + tanh" },
      { name = "ids", spec = "ids: B N", dtype = "i64", role = "argument" },
      { name = "left", spec = "left: B", dtype = "T", role = "argument", optional = true } } }
    local made = inputs.make(d, inputs.sizes(d, {}), {}, { dtype = "f32", device = "cpu" })
    assert.is_nil(made.left)
    assert.equal("i64", made.ids.dtype)
    assert.same({ 2, 50 }, { table.unpack(made.g.shape) })
    for _, row in ipairs(made.g:totable()) do
      for _, x in ipairs(row) do assert.is_true(x <= 0) end
    end
    for _, row in ipairs(made.t:totable()) do
      for _, x in ipairs(row) do assert.is_true(x >= 0 and x <= 2) end
    end
  end)
end)

describe("bench", function()
  it("measures every operator forward and backward", function()
    local request = {}
    for i, name in ipairs(rapt.operators()) do request[i] = name end
    local result = quick(request)
    assert.equal(#request, #result.rows)
    for i, row in ipairs(result.rows) do
      assert.equal(request[i], row.operator)
      assert.is_nil(row.no_backward)
      for _, pass in ipairs { row.forward, row.forward_backward } do
        assert.is_true(pass.seconds > 0 and pass.seconds_min <= pass.seconds
          and pass.seconds <= pass.seconds_max)
        assert.is_true(pass.runs >= 5 and pass.extra_bytes >= 0)
        assert.near(pass.gflops / result.peak_gflops, pass.share_of_peak, 1e-9)
        assert.near(pass.seconds / result.rows[1][pass == row.forward and "forward"
          or "forward_backward"].seconds,
          pass.ratio, 1e-9)
      end
    end
  end)

  it("counts the work by the operator's cost", function()
    local row = quick({ "softmax", causal = true, passes = "forward" }).rows[1]
    assert.is_nil(row.forward_backward)
    assert.equal(48 * 49 // 2, row.visible_pairs)
    assert.equal(48 * 48, row.all_pairs)
    local cost = rapt.cost("softmax", { q = rapt.ones(1, 2, 48, 16), k = rapt.ones(1, 2, 48, 16),
      v = rapt.ones(1, 2, 48, 16) }, { causal = true })
    assert.near(cost.flops / row.forward.seconds * 1e-9, row.forward.gflops, 1e-6)
  end)

  it("is causal unless told otherwise, and takes other sizes, dtypes and attributes", function()
    assert.is_true(quick({ "cog", passes = "forward" }).rows[1].attrs.causal)
    assert.is_false(quick({ "cog", passes = "forward", causal = false }).rows[1].attrs.causal)
    local result = quick { "cog", "softmax", dtype = "f16", M = 20, G = 1, attrs = { scale = 0.5 },
      passes = "backward" }
    assert.equal("f16", result.dtype)
    assert.same({ 20, 1, 0.5 }, { result.rows[1].sizes.M, result.rows[1].sizes.G,
      result.rows[1].attrs.scale })
    assert.is_nil(result.rows[1].forward)
  end)

  it("prints itself as a table", function()
    local text = tostring(quick { "softmax", "cog" })
    for _, word in ipairs { "softmax", "cog", "forward+backward", "GFLOP/s", "of peak", "ratio", "N=48" } do
      assert.truthy(text:find(word, 1, true), word)
    end
  end)

  it("says what is wrong with a request", function()
    local function fails(message, request)
      local fine, why = pcall(rapt.bench, request)
      assert.is_false(fine)
      assert.truthy(tostring(why):find(message, 1, true), tostring(why))
    end
    fails("expected names of operators", {})
    fails("no option 'causl'", { "softmax", causl = true })
    fails('did you mean "softmax"', { "sofmax" })
    fails("scael", { "softmax", N = 8, peak_side = 64, attrs = { scael = 1 } })
  end)

  it("prints JSON", function()
    local status, out, err = helper.rapt("bench softmax cog --json -N 64 -H 2 -D 16 --set scale=0.1 --full")
    assert.same({ 0, "" }, { status, err })
    local result = require("cjson").decode(out)
    assert.equal(2, #result.rows)
    assert.equal("f32", result.dtype)
    assert.is_true(result.threads >= 1 and result.peak_gflops > 0 and result.peak_gbytes > 0)
    local row = result.rows[2]
    assert.equal("cog", row.operator)
    assert.same({ causal = false, scale = 0.1 }, row.attrs)
    for _, field in ipairs { "seconds", "seconds_min", "seconds_max", "runs", "gflops", "share_of_peak",
      "ratio",
      "extra_bytes" } do
      assert.equal("number", type(row.forward[field]), field)
      assert.equal("number", type(row.forward_backward[field]), field)
    end
  end)
end)
