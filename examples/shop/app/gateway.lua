return {
    {"POST", "/orders",                       "orders/place"},
    {"GET",  "/customers/:customer",          "customers/show"},
    {"GET",  "/customers/:customer/products", "customers/products"},
}
