-- Loading plugins, helper functions, reloading.
local rapt = require "rapt"

local modules = assert(os.getenv("RAPT_TEST_MODULES"),
  "RAPT_TEST_MODULES must name the folder of test plugins")
local functions = assert(os.getenv("RAPT_TEST_FUNCTIONS"), "RAPT_TEST_FUNCTIONS must name a plugin")

local function copy(from, to)
  assert(os.execute(("cp '%s' '%s.new' && mv '%s.new' '%s'"):format(from, to, to, to)))
end

local function plugin(name)
  for _, p in ipairs(rapt.plugins()) do
    if p.name == name then return p end
  end
end

describe("functions of a plugin", function()
  local f
  setup(function()
    rapt.load_plugin(functions)
    f = rapt.fn.functions
  end)

  it("take and give every type", function()
    local before = f.touched()
    assert.equal(0, select("#", f.touch()))
    assert.equal(before + 1, f.touched())
    assert.equal(false, f.negate(true))
    assert.equal(true, f.negate(false))
    assert.equal(-5, f.add(2, -7))
    assert.equal("integer", math.type(f.add(2, 3)))
    assert.equal(1 << 41, f.twice(1 << 40))
    assert.equal(-0.25, f.slope(1, 8))
    assert.equal(0.75, f.half(1.5))
    assert.equal("text", f.pick("text", true))
    assert.is_nil(f.pick("text", false))
    assert.is_nil(f.same(nil))
    assert.equal(f.address(), f.same(f.address()))
    assert.equal(1 + 2 + 3 + 4 + 1 + 65 + 5 + 6, f.many(1, 2, 3, 4, true, "A", 5, 6))
  end)

  it("take tensors with any strides", function()
    local t = rapt.tensor { { 1, 2 }, { 3, 4 } }
    assert.equal(3, f.total(t[1]))
    assert.equal(4, f.total(t:transpose(1, 2)[1]))
  end)

  it("check what they are given", function()
    local function says(expected, call)
      local ok, text = pcall(call)
      assert.is_false(ok)
      assert.equal(expected, text:match("^[^\n]*plugins_spec.lua:%d+: (.*)$"))
    end
    says("add: 2 arguments expected, got 1: int add(int a, int b)", function() f.add(1) end)
    says("add: b must be an integer, got 1.5", function() f.add(1, 1.5) end)
    says("add: a is 4294967296, beyond an int", function() f.add(1 << 32, 1) end)
    says("negate: argument 1 must be a boolean, got an integer", function() f.negate(1) end)
    says("slope: head must be an integer, got \"x\"", function() f.slope("x", 1) end)
    says("total: x must be a tensor, got a table", function() f.total({}) end)
    says("same: p must be a pointer or nil, got an integer", function() f.same(1) end)
    local ok, text = pcall(function() return rapt.fn.nothing end)
    assert.is_false(ok)
    assert.is_truthy(text:find("rapt.fn: no plugin is called nothing; loaded are ", 1, true))
  end)

  it("are listed with their plugin", function()
    local p = plugin("functions")
    assert.is_function(p.functions.slope)
    assert.same({}, p.operators)
    assert.equal("rapt", p.author)
    assert.equal("MIT", p.license)
    assert.equal(-0.5, p.functions.slope(0, 2))
  end)
end)

describe("a plugin", function()
  it("is loaded and reloaded from its file", function()
    local file = os.tmpname()
    os.remove(file)
    assert(os.execute("mkdir -m 755 " .. file))
    local path = file .. "/good.so"
    copy(modules .. "/good.so", path)
    rapt.load_plugin(path)
    local p = plugin("sample")
    assert.equal("1.0", p.version)
    assert.equal(path, p.path)
    local count, op = rapt.fn.sample.count_calls, rapt.ops[p.operators[1]]
    assert.equal(1, count())
    assert.equal(2, count())
    local x = rapt.tensor { { 1, 2 } }
    local before = op({ x = x }):totable()
    copy(modules .. "/good_again.so", path)
    rapt.reload(p.operators[1])
    assert.equal("2.0", plugin("sample").version)
    -- the function that was fetched before belongs to the new copy now
    assert.equal(1, count())
    assert.same(before, op({ x = x }):totable())
    os.execute("rm -r " .. file)
  end)

  it("that cannot be loaded is an error", function()
    for name, part in pairs { no_symbol = "no symbol rapt_plugin_v1", wrong_major = "ABI",
      bad_function = "complex" } do
      local ok, text = pcall(rapt.load_plugin, modules .. "/" .. name .. ".so")
      assert.is_false(ok)
      assert.is_truthy(text:find(name .. ".so", 1, true) and text:find(part, 1, true), text)
      assert.is_nil(text:find("\n", 1, true))
    end
    assert.has_error(function() rapt.load_plugin("/nonexistent.so") end)
    assert.has_error(function() rapt.reload("core.add") end)
    assert.has_error(function() rapt.reload("nothing") end)
  end)
end)
