-- rapt.load, rapt.save, rapt.metadata.
local rapt = require "rapt"

local folder
local function path(name) return folder .. "/" .. name end
local function contents(name)
  local file = assert(io.open(path(name), "rb"))
  local text = file:read("a")
  file:close()
  return text
end
local function write(name, text)
  local file = assert(io.open(path(name), "wb"))
  file:write(text)
  file:close()
end

describe("files", function()
  setup(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir -p " .. folder))
  end)
  teardown(function() os.execute("rm -rf " .. folder) end)

  it("keep tensors of every dtype in safetensors", function()
    local out = {}
    for _, dtype in ipairs { "f32", "f16", "bf16", "f64", "i32", "i64", "u8", "bool" } do
      out[dtype] = rapt.tensor({ { 0, 1 }, { 1, 1 } }, { dtype = dtype })
    end
    out.scalar, out.empty = rapt.tensor(2.5), rapt.zeros(0, 3)
    out.view = rapt.arange(6):view(2, 3):transpose(1, 2)
    out.graph = rapt.ones(2, { requires_grad = true }) * 2
    rapt.save(path("a.safetensors"), out, { op = "cog", n = 3, flag = true })
    local back = rapt.load(path("a.safetensors"))
    for name, t in pairs(out) do
      assert.equal(t.dtype, back[name].dtype)
      assert.same(t.shape, back[name].shape)
      assert.same(t:totable(), back[name]:totable())
      assert.is_false(back[name].requires_grad)
    end
    assert.same({ op = "cog", n = "3", flag = "true" }, rapt.metadata(path("a.safetensors")))
  end)

  it("are the same bytes for the same contents", function()
    local t = { b = rapt.ones(2), a = rapt.zeros(3), c = rapt.zeros(1) }
    rapt.save(path("x.safetensors"), t, { z = "1", y = "2" })
    rapt.save(path("y.safetensors"), { c = t.c, a = t.a, b = t.b }, { y = "2", z = "1" })
    assert.equal(contents("x.safetensors"), contents("y.safetensors"))
    assert.same({}, rapt.metadata((function()
      rapt.save(path("z.safetensors"), {})
      return path("z.safetensors")
    end)()))
  end)

  it("stay when the loaded tensors are changed", function()
    rapt.save(path("m.safetensors"), { a = rapt.ones(4) })
    local before = contents("m.safetensors")
    local t = rapt.load(path("m.safetensors")).a
    t[1] = 7
    assert.same({ 7, 1, 1, 1 }, t:totable())
    assert.equal(before, contents("m.safetensors"))
    assert.same({ 1, 1, 1, 1 }, rapt.load(path("m.safetensors")).a:totable())
  end)

  it("live as long as one of their tensors", function()
    rapt.save(path("l.safetensors"), { a = rapt.arange(1000), b = rapt.zeros(3) })
    local a = rapt.load(path("l.safetensors")).a
    collectgarbage()
    collectgarbage()
    assert.equal(999, a[1000]:item())
  end)

  it("keep one tensor in npy", function()
    for _, dtype in ipairs { "f32", "f16", "f64", "i32", "i64", "u8", "bool" } do
      local t = rapt.tensor({ { 0, 1, 1 }, { 1, 0, 1 } }, { dtype = dtype })
      rapt.save(path("t.npy"), t)
      local back = rapt.load(path("t.npy"))
      assert.equal(dtype, back.dtype)
      assert.same(t:totable(), back:totable())
    end
    assert.has_error(function() rapt.save(path("t.npy"), rapt.zeros(1, { dtype = "bf16" })) end)
  end)

  it("are refused in one line when something is wrong", function()
    local function fails(f, ...)
      local ok, text = pcall(f)
      assert.is_false(ok)
      assert.is_nil(text:find("\n", 1, true))
      for _, part in ipairs { ... } do assert.is_truthy(text:find(part, 1, true), text) end
    end
    fails(function() rapt.load(path("none.safetensors")) end, "none.safetensors")
    fails(function() rapt.metadata(path("none.safetensors")) end, "none.safetensors")
    fails(function() rapt.metadata(path("t.npy")) end, "is an .npy file, which has none")
    write("bad.safetensors", "nonsense")
    fails(function() rapt.load(path("bad.safetensors")) end, "bad.safetensors")
    write("bad.npy", "\147NUMPY\1\0")
    fails(function() rapt.load(path("bad.npy")) end, "bad.npy")
    fails(function() rapt.save(path("q.safetensors"), { a = 5 }) end,
      "rapt.save: a must be a tensor, got an integer")
    fails(function() rapt.save(path("q.safetensors"), { rapt.zeros(1) }) end, "by name")
    fails(function() rapt.save(path("q.safetensors"), { a = rapt.zeros(1) }, { b = {} }) end,
      "rapt.save: metadata b must be a string, got a table")
    fails(function() rapt.save(path("q.safetensors"), rapt.zeros(1)) end, "a table of tensors by name")
    fails(function() rapt.save(path("q.npy"), { a = rapt.zeros(1) }) end, "holds one tensor")
    fails(function() rapt.save(path("q.npy"), rapt.zeros(1), {}) end, "has no metadata")
    fails(function() rapt.save(path("no/such/q.npy"), rapt.zeros(1)) end, "no/such")
    fails(function() rapt.save(5, rapt.zeros(1)) end, "rapt.save: path must be a string, got 5")
    assert.is_nil(io.open(path("q.safetensors")))
  end)
end)
