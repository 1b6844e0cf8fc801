-- Writes the first inputs of the fuzzers into FOLDER/safetensors and FOLDER/npy:
--     lua5.4 seeds.lua FOLDER
local folder = assert(arg[1], "usage: lua5.4 seeds.lua FOLDER")

local function write(path, ...)
    local file = assert(io.open(folder .. "/" .. path, "wb"))
    assert(file:write(...))
    assert(file:close())
end

local function safetensors(name, header, data)
    write("safetensors/" .. name, string.pack("<I8", #header), header, data)
end

safetensors("empty", "{}", "")
safetensors("one", [[{"x":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}]], ("\0"):rep(24))
safetensors("metadata", [[{"__metadata__":{"op":"cog","note":"\u00e9\n"}}  ]], "")

local entries = {}
for i, entry in ipairs({
    { "I64", "", 0, 8 },
    { "F64", "0,4", 8, 8 },
    { "BF16", "1", 8, 10 },
    { "F16", "1,1", 10, 12 },
    { "I32", "1", 12, 16 },
    { "U8", "1", 16, 17 },
    { "BOOL", "1", 17, 18 },
}) do
    entries[i] = string.format([["t%d":{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}]],
        i, table.unpack(entry))
end
safetensors("dtypes", "{" .. table.concat(entries, ",") .. "}", ("\1"):rep(18))

local function npy(name, version, header, data)
    local length = string.pack(version == 1 and "<I2" or "<I4", #header)
    write("npy/" .. name, "\x93NUMPY", string.char(version, 0), length, header, data)
end

npy("f4", 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", ("\0"):rep(24))
npy("fortran", 2, "{'descr': '<i8', 'fortran_order': True, 'shape': (2, 2), }\n", ("\1"):rep(32))
npy("scalar", 3, '{"shape":(),"descr":"|b1","fortran_order":False}', "\1")
npy("half", 1, "{'descr': '<f2', 'fortran_order': True, 'shape': (1, 2, 3), }", ("\60"):rep(12))
npy("empty", 1, "{'descr': '|u1', 'fortran_order': False, 'shape': (0,), }", "")
