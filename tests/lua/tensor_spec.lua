-- Tensors from Lua: making them, what they are, views, elements, printing.
local rapt = require "rapt"

local function rows(t) return t:totable() end

describe("making tensors", function()
  it("takes nested tables", function()
    local t = rapt.tensor { { 1, 2 }, { 3, 4 } }
    assert.same({ 2, 2 }, t.shape)
    assert.equal("f32", t.dtype)
    assert.equal("cpu", t.device)
    assert.same({ { 1, 2 }, { 3, 4 } }, rows(t))
    assert.same({ 2, 1, 3 }, rapt.tensor({ { { 1, 2, 3 } }, { { 4, 5, 6 } } }).shape)
  end)

  it("takes single values, empty tables and booleans", function()
    assert.same({}, rapt.tensor(3.5).shape)
    assert.equal(3.5, rapt.tensor(3.5):item())
    assert.same({ 0 }, rapt.tensor({}).shape)
    assert.same({ 2, 0 }, rapt.tensor({ {}, {} }).shape)
    assert.same({ 1, 1, 1, 1, 1, 1, 1, 1 }, rapt.tensor({ { { { { { { { 7 } } } } } } } }).shape)
    local b = rapt.tensor { true, false }
    assert.equal("bool", b.dtype)
    assert.same({ true, false }, rows(b))
    assert.same({ 1, 0 }, rows(rapt.tensor({ true, false }, { dtype = "f32" })))
  end)

  it("keeps integers exact in i64", function()
    local big = { math.maxinteger, math.mininteger, (1 << 53) + 1 }
    assert.same(big, rows(rapt.tensor(big, { dtype = "i64" })))
    assert.equal("integer", math.type(rapt.tensor({ 5 }, { dtype = "i32" })[1]:item()))
    assert.equal((1 << 53) + 1, rapt.full({ 2 }, (1 << 53) + 1, { dtype = "i64" })[2]:item())
    assert.equal(3, rapt.tensor({ 3.0 }, { dtype = "i64" }):item())
  end)

  it("copies a tensor", function()
    local a = rapt.tensor { 1, 2 }
    local b = rapt.tensor(a, { dtype = "f64" })
    b[1] = 9
    assert.same({ 1, 2 }, rows(a))
    assert.equal("f64", b.dtype)
  end)

  it("knows every dtype", function()
    for _, dtype in ipairs { "f32", "f16", "bf16", "f64", "i32", "i64", "u8", "bool" } do
      local t = rapt.tensor({ 0, 1 }, { dtype = dtype })
      assert.equal(dtype, t.dtype)
      local expected = dtype == "bool" and { false, true } or { 0, 1 }
      assert.same(expected, rows(t))
      assert.same(expected, rows(rapt.zeros(2, { dtype = dtype }):copy_(t)))
      assert.same(expected, rows(rapt.arange(2, { dtype = dtype })))
    end
  end)

  it("has zeros, ones and full", function()
    assert.same({ { 0, 0, 0 }, { 0, 0, 0 } }, rows(rapt.zeros(2, 3)))
    assert.same({ { 1 } }, rows(rapt.ones({ 1, 1 })))
    assert.same({ { 0.5, 0.5 } }, rows(rapt.full({ 1, 2 }, 0.5)))
    assert.same({ true }, rows(rapt.full({ 1 }, true)))
    assert.same({}, rapt.zeros().shape)
    assert.same({}, rapt.zeros({}).shape)
    assert.same({}, rapt.zeros { dtype = "f16" }.shape)
    local t = rapt.ones(2, { dtype = "f16", device = "cpu", requires_grad = true })
    assert.equal("f16", t.dtype)
    assert.is_true(t.requires_grad)
    assert.is_false(rapt.ones(2).requires_grad)
  end)

  it("has the like family", function()
    local t = rapt.zeros(2, 3, { dtype = "f16" })
    assert.equal("f16", rapt.ones_like(t).dtype)
    assert.same({ 2, 3 }, rapt.zeros_like(t).shape)
    assert.equal("f32", rapt.randn_like(t, { dtype = "f32" }).dtype)
    assert.same({ 2, 3 }, rapt.rand_like(t).shape)
  end)

  it("has arange", function()
    assert.same({ 0, 1, 2 }, rows(rapt.arange(0, 3)))
    assert.same({ 0, 1, 2 }, rows(rapt.arange(3)))
    assert.same({ 5, 3, 1 }, rows(rapt.arange(5, 0, -2)))
    assert.same({ 0, 0.25, 0.5, 0.75 }, rows(rapt.arange(0, 1, 0.25)))
    assert.same({}, rows(rapt.arange(3, 3)))
    assert.same({}, rows(rapt.arange(3, 0)))
    assert.same({ 7, 8 }, rows(rapt.arange(7, 9, { dtype = "i64" })))
  end)

  it("draws the same random numbers for the same seed", function()
    rapt.manual_seed(7)
    local a, b, c = rapt.randn(100), rapt.rand(100), rapt.randint(3, 9, 10, 10)
    rapt.manual_seed(7)
    assert.same(rows(a), rows(rapt.randn(100)))
    assert.same(rows(b), rows(rapt.rand(100)))
    assert.same(rows(c), rows(rapt.randint(3, 9, 10, 10)))
    assert.not_same(rows(a), rows(rapt.randn(100)))
    assert.equal("i64", c.dtype)
    local seen = {}
    for _, row in ipairs(rows(c)) do
      for _, x in ipairs(row) do seen[x] = true end
    end
    for x in pairs(seen) do assert.is_true(x >= 3 and x < 9) end
    for _, x in ipairs(rows(b)) do assert.is_true(x >= 0 and x < 1) end
  end)

  it("takes and gives bytes", function()
    local t = rapt.frombytes("abc")
    assert.equal("u8", t.dtype)
    assert.same({ 97, 98, 99 }, rows(t))
    assert.equal("abc", t:tobytes())
    assert.equal("bca", rapt.frombytes("abcbca"):view(2, 3)[2]:tobytes())
    assert.equal("acbd", rapt.frombytes("abcd"):view(2, 2):transpose(1, 2):tobytes())
    assert.equal(string.pack("<f", 1.5), rapt.tensor({ 1.5 }):tobytes())
    assert.same({ 1.5 }, rows(rapt.frombytes(string.pack("<f", 1.5), { dtype = "f32" })))
    assert.same({ 0 }, rapt.frombytes("").shape)
  end)
end)

describe("what a tensor is", function()
  local t = rapt.zeros(2, 3, 4)

  it("has fields", function()
    assert.same({ 2, 3, 4 }, t.shape)
    assert.same({ 12, 4, 1 }, t.strides)
    assert.equal(3, t.ndim)
    assert.equal(2, #t)
    assert.equal(24, t:numel())
    assert.equal(3, t:size(2))
    assert.equal(4, t:size(-1))
    assert.same({ 2, 3, 4 }, t:size())
    assert.is_nil(t.grad)
    assert.is_nil(t.nothing_of_that_name)
    assert.is_true(t.is_leaf)
    assert.is_true(t:is_contiguous())
    assert.is_true(rapt.is_tensor(t))
    assert.is_false(rapt.is_tensor({}))
    assert.is_false(rapt.is_tensor(io.stdout))
  end)

  it("is equal to itself alone", function()
    assert.is_true(t == t)
    assert.is_false(t == rapt.zeros(2, 3, 4))
    assert.is_true(t == t:contiguous())
    assert.is_true(t == t:to("f32"))
    local x = rapt.ones(1, { requires_grad = true });
    (x * x):backward()
    assert.is_true(x.grad == x.grad)
  end)

  it("is closed at the end of a block", function()
    local outside
    do
      local inside <close> = rapt.zeros(3)
      outside = inside
    end
    assert.has_error(function() return outside.shape end)
    local u = rapt.zeros(3)
    u:close()
    assert.has_error(function() return u:numel() end)
    assert.has_no_error(function() return tostring(rapt.zeros(1)) end)
  end)
end)

describe("views", function()
  local t = rapt.arange(0, 24):view(2, 3, 4)

  it("select", function()
    assert.same({ 0, 1, 2, 3 }, rows(t[1][1]))
    assert.same(rows(t[2]), rows(t[-1]))
    assert.equal(23, t[{ 2, 3, 4 }]:item())
    assert.equal(23, t[{ -1, -1, -1 }]:item())
    assert.same({ 2, 6, 10 }, rows(t:select(3, 3)[1]))
    assert.same({ 3, 4 }, t[{ 1 }].shape)
    assert.same({ 2, 4 }, t[{ {}, 2 }].shape)
    assert.same({ { 5, 6 }, { 9, 10 } }, rows(t[{ 1, { 2, 3 }, { 2, 3 } }]))
    assert.same({ 2, 3, 4 }, t[{}].shape)
    assert.equal(4, t[2.0][1].shape[1])
  end)

  it("share memory", function()
    local a = rapt.zeros(2, 2)
    a[1] = 5
    a[{ 2, 1 }] = rapt.tensor(7)
    a[{ {}, 2 }] = rapt.tensor { 1, 2 }
    assert.same({ { 5, 1 }, { 7, 2 } }, rows(a))
    a:transpose(1, 2)[1] = -1
    assert.same({ { -1, 1 }, { -1, 2 } }, rows(a))
    a:narrow(1, 2, 1):fill_(0)
    assert.same({ { -1, 1 }, { 0, 0 } }, rows(a))
    assert.same({ { 0, 0 }, { 0, 0 } }, rows(a:zero_()))
    a:copy_(rapt.tensor { 3, 4 })
    assert.same({ { 3, 4 }, { 3, 4 } }, rows(a))
    local b = a:clone()
    b[1] = 0
    assert.same({ 3, 4 }, rows(a[1]))
    local bits = rapt.zeros(2, { dtype = "bool" })
    bits[2] = true
    assert.same({ false, true }, rows(bits))
  end)

  it("narrow", function()
    assert.same({ 2, 2, 4 }, t:narrow(2, 2, 2).shape)
    assert.same(rows(t:narrow(2, 2, 2)), rows(t:narrow(-2, -2, 2)))
    assert.same({ 2, 0, 4 }, t:narrow(2, 1, 0).shape)
    assert.same({ 2, 0, 4 }, t:narrow(2, 4, 0).shape)
  end)

  it("change the shape", function()
    assert.same({ 6, 4 }, t:view(6, -1).shape)
    assert.same({ 6, 4 }, t:view({ 6, 4 }).shape)
    assert.same({ 6, 4 }, t:view(rapt.zeros(6, 4)).shape)
    assert.same({ 24 }, t:reshape(-1).shape)
    assert.same({ 4, 2, 3 }, t:permute(3, 1, 2).shape)
    assert.same({ 4, 2, 3 }, t:permute({ -1, 1, 2 }).shape)
    assert.same({ 2, 4, 3 }, t:transpose(2, 3).shape)
    assert.same({ 2, 4, 3 }, t:transpose(-1, -2).shape)
    assert.same({ 0, 4, 8, 1, 5, 9 },
      { table.unpack(rows(t:transpose(2, 3):reshape(-1)), 1, 6) })
    assert.is_false(t:transpose(1, 2):is_contiguous())
    assert.is_true(t:transpose(1, 2):contiguous():is_contiguous())
    assert.same({ 2, 1, 3, 4 }, t:unsqueeze(2).shape)
    assert.same({ 2, 3, 4, 1 }, t:unsqueeze(-1).shape)
    assert.same({ 2, 3, 4 }, t:unsqueeze(1):squeeze(1).shape)
    assert.same({ 3 }, rapt.zeros(1, 3, 1):squeeze().shape)
    assert.same({}, rapt.zeros(1):view().shape)
  end)

  it("expand", function()
    assert.same({ { 1, 2 }, { 1, 2 }, { 1, 2 } }, rows(rapt.tensor({ 1, 2 }):expand(3, 2)))
    assert.same({ { 1, 1 }, { 2, 2 } }, rows(rapt.tensor({ { 1 }, { 2 } }):expand(-1, 2)))
  end)

  it("convert", function()
    assert.equal("f16", t:to("f16").dtype)
    assert.equal("i64", t:to("cpu", "i64").dtype)
    assert.same({ 1, 2 }, rows(rapt.tensor({ 1.25, 2.75 }):to("i64")))
    assert.equal(1.5, rapt.tensor(1.5):to("bf16"):item())
    assert.equal("f32", t:detach().dtype)
  end)
end)

describe("elements", function()
  it("are numbers, integers or booleans", function()
    assert.equal("float", math.type(rapt.tensor(1):item()))
    assert.equal("integer", math.type(rapt.tensor(1, { dtype = "u8" }):item()))
    assert.equal(true, rapt.tensor(true):item())
    assert.equal(1.5, rapt.tensor(1.5, { dtype = "f16" }):item())
    assert.equal(2, rapt.tensor({ { 2 } }):item())
  end)

  it("come as nested tables from any strides", function()
    local t = rapt.arange(0, 6):view(2, 3)
    assert.same({ { 0, 3 }, { 1, 4 }, { 2, 5 } }, rows(t:transpose(1, 2)))
    assert.same({ { 1, 2 }, { 4, 5 } }, rows(t:narrow(2, 2, 2)))
    assert.equal(4, rapt.tensor(4):totable())
    assert.same({ {}, {} }, rows(rapt.zeros(2, 0)))
  end)
end)

describe("printing", function()
  it("shows small tensors whole", function()
    assert.equal("[2,3] f32 cpu\n   1   2   3\n   4   5  60",
      tostring(rapt.tensor { { 1, 2, 3 }, { 4, 5, 60 } }))
    assert.equal("[2] f32 cpu\n   1.5000  -2.2500", tostring(rapt.tensor { 1.5, -2.25 }))
    assert.equal("[] f32 cpu\n  3.5000", tostring(rapt.tensor(3.5)))
    assert.equal("[2] bool cpu\n   true  false", tostring(rapt.tensor { true, false }))
    assert.equal("[1] i64 cpu\n  9007199254740993", tostring(rapt.full({ 1 }, (1 << 53) + 1,
      { dtype = "i64" })))
    assert.equal("[1] f32 cpu requires_grad\n  1", tostring(rapt.ones(1, { requires_grad = true })))
    assert.equal("[1] f16 cpu\n  0.5000", tostring(rapt.tensor({ 0.5 }, { dtype = "f16" })))
  end)

  it("shows what is not a number", function()
    local text = tostring(rapt.tensor { 0 / 0, -(0 / 0), 1 / 0, -1 / 0, 0.5 })
    assert.equal("[5] f32 cpu\n     nan     nan     inf    -inf  0.5000", text)
  end)

  it("uses powers of ten where sizes ask for it", function()
    assert.equal("[2] f32 cpu\n  1.0000e-05  2.5000e+00", tostring(rapt.tensor { 1e-5, 2.5 }))
    assert.equal("[2] f32 cpu\n  1.0000e+08  2.5000e+00", tostring(rapt.tensor { 1e8, 2.5 }))
  end)

  it("shows nothing of nothing", function()
    assert.equal("[0,3] f32 cpu (no elements)", tostring(rapt.zeros(0, 3)))
  end)

  it("cuts long dimensions", function()
    assert.equal("[100] f32 cpu\n   0   1   2   3  ...  96  97  98  99", tostring(rapt.arange(100)))
    local lines = {}
    for line in tostring(rapt.zeros(50, 50)):gmatch("[^\n]+") do lines[#lines + 1] = line end
    assert.equal(10, #lines)
    assert.equal("  ...", lines[6])
  end)

  it("shows the matrices of more dimensions", function()
    assert.equal("[2,1,2] f32 cpu\n[1,:,:]\n  0  1\n[2,:,:]\n  2  3", tostring(rapt.arange(4):view(2, 1, 2)))
    local text = tostring(rapt.arange(60):view(10, 3, 2))
    assert.is_truthy(text:find("\n...\n[10,:,:]\n", 1, true))
    assert.is_nil(text:find("[5,:,:]", 1, true))
  end)
end)
