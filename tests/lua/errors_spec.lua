-- Errors: one line, the place in the user's program, the function, what was expected and what came.
local rapt = require "rapt"

--- What `f` raises, without the place in this file, which must be there.
local function message(f)
  local ok, text = pcall(f)
  assert.is_false(ok, "an error was expected")
  local place, rest = tostring(text):match("^([^\n]-errors_spec%.lua:%d+: )([^\n]*)$")
  assert.is_truthy(place, "no place, or several lines: " .. tostring(text))
  return rest
end

local function says(expected, f)
  assert.equal(expected, message(f))
end

describe("errors of constructors", function()
  it("name the size", function()
    says("rapt.zeros: size 2 is -1 but must not be negative", function() rapt.zeros(3, -1) end)
    says("rapt.ones: size 1 must be an integer, got 1.5", function() rapt.ones(1.5) end)
    says("rapt.ones: size 1 must be an integer, got \"x\"", function() rapt.ones("x") end)
    says("rapt.zeros: 9 sizes, but a tensor has at most 8 dimensions",
      function() rapt.zeros(1, 1, 1, 1, 1, 1, 1, 1, 1) end)
    says("rapt.full: sizes must be a table, got an integer", function() rapt.full(3, 1) end)
    says("rapt.full: value must be a number, got \"a\"", function() rapt.full({ 3 }, "a") end)
    says("rapt.full: value must be an integer for dtype i64", function() rapt.full({ 3 }, 0.5,
      { dtype = "i64" }) end)
  end)

  it("refuse sizes that overflow", function()
    local huge = 1 << 40
    for name, arguments in pairs {
      zeros = { huge, huge }, randn = { huge, huge, huge }, ones = { math.maxinteger }, full = { { huge,
        huge }, 1 },
      randint = { 0, 5, huge, huge }, rand = { huge, huge, { dtype = "f16" } },
    } do
      local text = message(function() rapt[name](table.unpack(arguments)) end)
      assert.is_truthy(text:find("^rapt." .. name .. ": shape .* does not fit in 63 bits of bytes$"), text)
    end
    assert.is_truthy(message(function() rapt.zeros(1 << 50) end):find("^rapt.zeros: out of memory"))
  end)

  it("name the option", function()
    says("rapt.zeros: unknown option dtyp (there are dtype, device and requires_grad)",
      function() rapt.zeros(2, { dtyp = "f16" }) end)
    says("rapt.zeros: \"f8\" is not a dtype (f32, f16, bf16, f64, i32, i64, u8 or bool)",
      function() rapt.zeros(2, { dtype = "f8" }) end)
    says("rapt.zeros: requires_grad must be a boolean, got an integer",
      function() rapt.zeros(2, { requires_grad = 1 }) end)
    assert.is_truthy(message(function() rapt.zeros(2, { device = "tpu:0" }) end):find("rapt.zeros: ", 1,
      true))
  end)

  it("name the element of a nested table", function()
    says("rapt.tensor: element [2] has 1 element but 2 were expected, as before",
      function() rapt.tensor { { 1, 2 }, { 3 } } end)
    says("rapt.tensor: element [2][1] is a table but a number was expected, as before",
      function() rapt.tensor { { 1, 2 }, { {}, 3 } } end)
    says("rapt.tensor: element [2] is an integer but a table of 2 was expected, as before",
      function() rapt.tensor { { 1, 2 }, 3 } end)
    says("rapt.tensor: element [1][2] must be a number or a boolean, got a string",
      function() rapt.tensor { { 1, "2" } } end)
    says("rapt.tensor: numbers and booleans are mixed", function() rapt.tensor { 1, true } end)
    says("rapt.tensor: element [1][2] is 1.5 but must be an integer for dtype i64",
      function() rapt.tensor({ { 1, 1.5 } }, { dtype = "i64" }) end)
    says("rapt.tensor: element [1] is 256 but is out of range for dtype u8",
      function() rapt.tensor({ 256 }, { dtype = "u8" }) end)
    says("rapt.tensor: element [1] is 2 but must be true, false, 0 or 1 for dtype bool",
      function() rapt.tensor({ 2 }, { dtype = "bool" }) end)
    says("rapt.tensor: tables are nested deeper than 8",
      function() rapt.tensor { { { { { { { { { 1 } } } } } } } } } end)
    says("rapt.tensor: options must be a table of names, got a string", function() rapt.tensor({ 1 },
      "f16") end)
    says("rapt.tensor: the value must be a number or a boolean, got nil", function() rapt.tensor(nil) end)
    local loop = {}
    loop[1] = loop
    says("rapt.tensor: tables are nested deeper than 8", function() rapt.tensor(loop) end)
  end)

  it("check ranges", function()
    says("rapt.randint: low 5 must be less than high 5", function() rapt.randint(5, 5, 2) end)
    says("rapt.arange: start, stop and step must be finite and step not 0", function() rapt.arange(0, 5,
      0) end)
    says("rapt.arange: start must be a number, got nil", function() rapt.arange(nil, 5) end)
    says("rapt.arange: start and step must be integers for dtype i64",
      function() rapt.arange(0.5, 3, { dtype = "i64" }) end)
    says("rapt.manual_seed: seed must be an integer, got nothing", function() rapt.manual_seed() end)
    says("rapt.frombytes: 3 bytes are no whole number of f32 elements",
      function() rapt.frombytes("abc", { dtype = "f32" }) end)
  end)
end)

describe("errors of views", function()
  local t = rapt.zeros(2, 3)

  it("count from 1", function()
    says("transpose: dim 2 is 3 but the tensor has 2 dimensions: give 1 to 2, or -2 to -1 from the end",
      function() t:transpose(1, 3) end)
    says("transpose: dim 1 is 0 but the tensor has 2 dimensions: give 1 to 2, or -2 to -1 from the end",
      function() t:transpose(0, 1) end)
    says("index 3 is out of range for dimension 1 of size 2 (1 to 2, or -2 to -1 from the end)",
      function() return t[3] end)
    says("index 0 is out of range for dimension 2 of size 3 (1 to 3, or -3 to -1 from the end)",
      function() return t[{ 1, 0 }] end)
    says("index 1.5 is not an integer", function() return t[1.5] end)
    says("index 1: the tensor has no dimensions", function() return rapt.tensor(1)[1] end)
    says("3 indices, but the tensor has 2 dimensions", function() return t[{ 1, 1, 1 }] end)
    says("index 1 is out of range: dimension 1 has size 0", function() return rapt.zeros(0)[1] end)
    says("a range of indices must not run backwards, got {3, 1}", function() return t[{ 1, { 3, 1 } }] end)
    says("a tensor is indexed with an integer, a table or a name, got a boolean",
      function() return t[true] end)
    says("narrow: start 2 and length 3 do not fit in dimension 2 of size 3", function() t:narrow(2, 2, 3) end)
    says("narrow: length must be an integer, got nothing", function() t:narrow(2, 2) end)
    says("permute: 1 dims given but the tensor has 2", function() t:permute(1) end)
    says("permute: dim 1 is given twice", function() t:permute(1, 1) end)
    says("squeeze: dimension 2 has size 3 but must have size 1", function() t:squeeze(2) end)
    says("size: dim is 5 but the tensor has 2 dimensions: give 1 to 2, or -2 to -1 from the end",
      function() t:size(5) end)
    says("view: size 1 is -2 but must not be negative (only -1 stands for a free size)",
      function() t:view(-2, 3) end)
  end)

  it("say what does not fit", function()
    says("view: [2,3] has 6 elements, which do not make [4,2]", function() t:view(4, 2) end)
    says("view: the layout of this [3,2] does not allow [6] without a copy; reshape makes one",
      function() t:transpose(1, 2):view(6) end)
    says("view: only one size of [-1,-1] may be -1", function() t:view(-1, -1) end)
    says("reshape: [2,3] has 6 elements, which do not make [5,-1]", function() t:reshape(5, -1) end)
    assert.is_truthy(message(function() t:expand(3,
      3) end):find("^expand: %[2,3%] does not expand to %[3,3%]"))
    says("#: the tensor has no dimensions", function() return #rapt.tensor(1) end)
    says("item: the tensor [2,3] has 6 elements but must have one", function() t:item() end)
    says("narrow: argument 1 must be a tensor, got nil", function() t.narrow(nil, 1, 1, 1) end)
    says("to: \"f12\" is neither a dtype (f32, f16, bf16, f64, i32, i64, u8, bool) nor a device "
      .. "(cpu, vulkan:0)",
      function() t:to("f12") end)
    says("the field shape of a tensor cannot be set to a table", function() t.shape = { 3, 2 } end)
    says("t[...] = value: value must be a number, got \"x\"", function() t[1] = "x" end)
  end)
end)

describe("errors of operators", function()
  local q = rapt.randn(1, 2, 3, 4)

  it("name the nearest operator", function()
    local text = message(function() return rapt.ops.softmx end)
    assert.is_truthy(text:find("softmx", 1, true) and text:find("softmax", 1, true))
    assert.is_truthy(message(function() rapt.call("sofmax", {}) end):find("softmax", 1, true))
    assert.is_truthy(message(function() rapt.describe("cgo") end):find("cog", 1, true))
  end)

  it("name the argument", function()
    local function cog(arguments) return message(function() rapt.ops.cog(arguments) end) end
    assert.is_truthy(cog({ q = q, k = q }):find("^cog: .*v"))
    assert.is_truthy(cog({ q = q, k = q, v = q, caussal = true }):find("causal", 1, true))
    assert.is_truthy(cog({ q = q, k = q, v = q, kk = q }):find("kk", 1, true))
    assert.is_truthy(cog({ q = q, k = q:to("f16"), v = q }):find("f16", 1, true))
    assert.equal("cog: k is [1,2,3,3] but D is 4 (from q [1,2,3,4])",
      cog { q = q, k = q:narrow(4, 1, 3), v = q })
    assert.equal("cog: q must be a tensor, got a string", cog { q = "q", k = q, v = q })
    assert.equal("cog: causal is an attribute, but a tensor was given", cog { q = q, k = q, v = q,
      causal = q })
    assert.equal("cog: inputs and attributes are given by name, got a key that is an integer", cog { q, q,
      q })
    assert.is_truthy(cog({ q = q, k = q, v = q, causal = 3 }):find("^cog: causal"))
    assert.is_truthy(cog({ q = q, k = q, v = q, scale = "big" }):find("^cog: scale"))
    assert.is_truthy(cog({ q = q, k = q, v = q, returns = { "lsd" } }):find("lsd", 1, true))
    assert.equal("cog: one table of inputs and attributes by name is expected, got a tensor", cog(q))
    assert.equal("cog: returns must be a list of names of outputs, got an integer",
      cog { q = q, k = q, v = q, returns = 1 })
    says("cog: q is given twice", function() rapt.call("cog", { q = q, k = q, v = q }, { q = q }) end)
    says("cog: scale must be a tensor, number, boolean, string or list, got a function",
      function() rapt.ops.cog { q = q, k = q, v = q, scale = print } end)
  end)

  it("count dimensions from 1", function()
    says("core.softmax: dim is 5 but x [1,2,3,4] has 4 dimensions, counted from 1",
      function() q:softmax(5) end)
    says("core.softmax: dim is 0 but x [1,2,3,4] has 4 dimensions, counted from 1",
      function() q:softmax(0) end)
    says("core.sum: dims is 9 but x [1,2,3,4] has 4 dimensions, counted from 1", function() q:sum(1, 9) end)
  end)

  it("say what a method takes", function()
    says("core.softmax: too many arguments, it takes (x, dim)", function() q:softmax(1, 2) end)
    says("core.exp: too many arguments, it takes (x)", function() q:exp(q) end)
    says("core.matmul: b must be a tensor, got a string", function() q:matmul("x") end)
    assert.is_truthy(message(function() rapt.matmul(q) end):find("^core.matmul: .*b"))
  end)

  it("come from arithmetic", function()
    says("+: the operands must be tensors or numbers, got a tensor and a string",
      function() return q + "x" end)
    says("*: the operands must be tensors or numbers, got nil and a tensor", function() return nil * q end)
    says("^: a tensor can be raised to the power of a number only, got a tensor and a tensor",
      function() return q ^ q end)
    assert.is_truthy(message(function() return q + rapt.zeros(5) end):find("^core.add: "))
    assert.is_truthy(message(function() return q + q:to("f16") end):find("^core.add: "))
    says("rapt.allclose: shapes [1,2,3,4] and [2] differ", function() rapt.allclose(q, rapt.zeros(2)) end)
    says("lt: shapes [1,2,3,4] and [3] cannot be broadcast", function() q:lt(rapt.zeros(3)) end)
  end)

  it("come from elsewhere", function()
    says("rapt.no_grad: a function is expected, got nil", function() rapt.no_grad() end)
    says("backward: dy must be a tensor, got an integer", function() q:backward(1) end)
    says("backward: the only option is retain_graph", function() q:backward { retain = true } end)
    says("rapt.load: x.bin must end in .safetensors or .npy", function() rapt.load("x.bin") end)
    says("rapt.operators: which must be \"all\" or nothing, got \"every\"",
      function() rapt.operators("every") end)
    says("rapt.measure: give either gemm or copy", function() rapt.measure {} end)
    says("step: a decoding state is expected, got nil",
      function() rapt.state("softmax", { q = q, k = q, v = q }).step(nil, {}) end)
  end)
end)

describe("the place of an error", function()
  it("is the user's line, also from within the Lua library", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local ok, text = pcall(function() rapt.no_grad(5) end)
    assert.is_false(ok)
    assert.is_truthy(text:find("errors_spec.lua:" .. line .. ": ", 1, true))
  end)

  it("is inside a function run by no_grad", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local ok, text = pcall(rapt.no_grad, function() rapt.zeros(-1) end)
    assert.is_false(ok)
    assert.is_truthy(text:find("errors_spec.lua:" .. line .. ": ", 1, true))
  end)
end)
